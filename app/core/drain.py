"""The end of a process, announced: what accepts work asks here whether it still should."""

import asyncio


class Drain:
    """Begins once and does not end. From then on readiness is refused, connections are not kept, sockets say goodbye."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()

    @property
    def begun(self) -> bool:
        """Whether the process is about to end."""
        return self._begun.is_set()

    def begin(self) -> None:
        """Announce the end. Called on the event loop."""
        self._begun.set()

    async def wait(self) -> None:
        """Return when the end has been announced."""
        await self._begun.wait()
