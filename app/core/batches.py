"""Single statements of one kind, run together: what is asked in one turn of the event loop is one statement.

A busy process reads many requests in a turn. One by one, each costs a round trip of its own, two system calls and the waking
of a server process, and each that writes a commit of its own: more than the work itself. Nobody waits for company: the
statement goes out in the turn in which its first caller came. It begins after every call, so what each of them must see it
sees; what PostgreSQL refuses is refused as a whole, had no effect, and is run again one by one.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final

from app.core.errors import ServiceUnavailable
from app.core.statement import Batchable, Runner

#: Callers of one statement at most.
MAX_TOGETHER: Final = 64

type Row = Sequence[Any]
type Call = tuple[Sequence[object], asyncio.Future[Row | None]]


class Batches:
    """Statements on their way.

    Args:
        runner: Runs single statements.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._calls: dict[Batchable, list[Call]] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    def run(self, statement: Batchable, values: Sequence[object]) -> Awaitable[Row | None]:
        """Return what will be the first row of a statement, ``None`` where there is none."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Row | None] = loop.create_future()
        calls = self._calls.get(statement)
        if calls is None:
            calls = self._calls[statement] = []
            loop.call_soon(self._send, statement)
        calls.append((values, answer))
        return answer

    def _send(self, statement: Batchable) -> None:
        calls = self._calls.pop(statement)
        loop = asyncio.get_running_loop()
        for start in range(0, len(calls), MAX_TOGETHER):
            task = asyncio.Task(self._answer(statement, calls[start : start + MAX_TOGETHER]), loop=loop, eager_start=True)
            if not task.done():
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)

    async def _answer(self, statement: Batchable, calls: list[Call]) -> None:
        if len(calls) == 1:
            await self._answer_alone(statement, *calls[0])
            return
        try:
            columns = zip(*(values for values, _ in calls), strict=True)
            found = {row[0]: row[1:] for row in await self._runner.rows(statement.several, *map(list, columns))}
        except ServiceUnavailable as error:  # whether it took effect is not known
            for _, answer in calls:
                if not answer.done():
                    answer.set_exception(error)
        except Exception:  # noqa: BLE001  # one of them is at fault, and hears of it when each is run alone
            for call in calls:
                await self._answer_alone(statement, *call)
        else:
            for number, (_, answer) in enumerate(calls, start=1):
                if not answer.done():
                    answer.set_result(found.get(number))

    async def _answer_alone(self, statement: Batchable, values: Sequence[object], answer: asyncio.Future[Row | None]) -> None:
        try:
            row = await self._runner.row(statement.one, *values)
        except Exception as error:  # noqa: BLE001  # whoever asked gets it
            if not answer.done():
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(row)
