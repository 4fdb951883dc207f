"""The process that sends: ``python -m loadtests.gate.drive PLAN RESULT``, started by a run and by nobody else.

It says on standard output, a JSON object a line, how far it is. With several plans in the file it becomes a master, which
waits for as many workers and hands one to each; what they record comes back with their reports every three seconds.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import gevent
from locust import events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtests.gate.engine import Engine, Visitor
from loadtests.gate.plan import Plan
from loadtests.gate.recorder import Recorder

PLAN, GO, DONE = "gate-plan", "gate-go", "gate-done"
JOIN_SECONDS: Final = 60
#: After the plan's end, for the last visits and the last reports.
GRACE_SECONDS: Final = 60


def say(**facts: Any) -> None:
    """Write a line for whoever started this."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def listen(hook: Any, listener: Any) -> None:
    """Add a listener to one of Locust's hooks, which have no types."""
    hook.add_listener(listener)


def hear(runner: Any, kind: str, listener: Any) -> None:
    """Let a listener have the messages of a kind."""
    runner.register_message(kind, listener)


def environment() -> Environment:
    """Return Locust's environment with our users in it."""
    return Environment(user_classes=[Visitor], events=events, host=Visitor.host)


def alone(plan: Plan) -> Recorder:
    """Send everything from this process."""
    runner = environment().create_local_runner()
    engine = Visitor.engine = Engine(plan)
    runner.start(plan.users, spawn_rate=plan.users)
    while runner.user_count < plan.users:
        gevent.sleep(0.05)
    beside: list[Any] = [gevent.spawn(_report, engine)]
    engine.run()
    gevent.killall(beside)
    runner.quit()
    return engine.recorder


def _report(engine: Engine) -> None:
    while True:
        gevent.sleep(1)
        phase = engine.recorder.phase(engine.phase)
        say(phase=engine.phase, requests=phase.requests, failed=sum(each.failed for each in phase.endpoints.values()))


def master(plans: list[Plan], port: int, host: str) -> Recorder:
    """Let workers send, one plan each.

    Raises:
        SystemExit: if they do not all come.
    """
    env = environment()
    runner: MasterRunner = env.create_master_runner(host, port)
    conductor = Conductor(runner, plans)
    listen(env.events.worker_report, conductor.on_report)
    say(waiting=len(plans), port=port)
    conductor.gather()
    runner.start(sum(plan.users for plan in plans), spawn_rate=sum(plan.users for plan in plans))
    conductor.conduct()
    runner.quit()
    return conductor.recorder


class Conductor:
    """A master's side of a run.

    Args:
        runner: Locust's.
        plans: One for each worker.
    """

    def __init__(self, runner: MasterRunner, plans: list[Plan]) -> None:
        self.recorder = Recorder()
        self._runner, self._plans = runner, plans
        self._players: list[str] = []
        self._done: set[str] = set()
        hear(runner, DONE, self._on_done)

    def gather(self) -> None:
        """Wait for the workers and hand out the plans."""
        ends = time.monotonic() + JOIN_SECONDS
        while (there := len(self._runner.clients.ready)) < len(self._plans):
            if time.monotonic() > ends:
                raise SystemExit(f"{there} of {len(self._plans)} workers came within {JOIN_SECONDS} s.")
            gevent.sleep(0.1)
        self._players = [client.id for client in self._runner.clients.ready][: len(self._plans)]
        for player, plan in zip(self._players, self._plans, strict=True):
            self._runner.send_message(PLAN, {"plan": plan.dumps()}, player)

    def conduct(self) -> None:
        """Begin, and wait for the end or for the loss of the workers that are not through."""
        gevent.sleep(2)  # users are spawned everywhere
        for player in self._players:
            self._runner.send_message(GO, None, player)
        seconds = sum(phase.seconds for phase in self._plans[0].phases)
        ends = time.monotonic() + seconds + GRACE_SECONDS
        while self._left() and time.monotonic() < ends:
            gevent.sleep(1)
            current = max(self.recorder.phases, default=0)
            phase = self.recorder.phase(current)
            say(phase=current, requests=phase.requests, failed=sum(each.failed for each in phase.endpoints.values()))
        self.recorder.lost_workers = len(set(self._players) - self._done)

    def _left(self) -> list[str]:
        """Return the workers that are there and not through."""
        there = {client.id for client in [*self._runner.clients.ready, *self._runner.clients.spawning, *self._runner.clients.running]}
        return [player for player in self._players if player not in self._done and player in there]

    def on_report(self, data: dict[str, Any], **_: Any) -> None:
        """Add what a worker recorded since its last report."""
        if (recorded := data.get("gate")) is not None:
            self.recorder.absorb(recorded)

    def _on_done(self, msg: Any, **_: Any) -> None:
        self.recorder.absorb(msg.data)
        self._done.add(msg.node_id)


def attach(env: Environment) -> None:
    """Make a worker do what its master says."""
    runner = env.runner
    assert isinstance(runner, WorkerRunner)  # noqa: S101  # whoever attaches is one

    def on_plan(msg: Any, **_: Any) -> None:
        Visitor.engine = Engine(Plan.loads(msg.data["plan"]))

    def on_go(**_: Any) -> None:
        gevent.spawn(play)

    def play() -> None:
        assert Visitor.engine is not None  # noqa: S101  # the plan came before
        Visitor.engine.run()
        runner.send_message(DONE, Visitor.engine.recorder.take())

    def on_report(data: dict[str, Any], **_: Any) -> None:
        if Visitor.engine is not None:
            data["gate"] = Visitor.engine.recorder.take()

    hear(runner, PLAN, on_plan)
    hear(runner, GO, on_go)
    listen(env.events.report_to_master, on_report)


def main() -> None:
    """Read the plan, send it, write the result."""
    plan_file, result_file, *address = sys.argv[1:]
    plans = [Plan.loads(json.dumps(each)) for each in json.loads(Path(plan_file).read_text())]
    recorder = master(plans, int(address[1]), address[0]) if address else alone(plans[0])
    Path(result_file).write_text(json.dumps(recorder.encode()))


if __name__ == "__main__":
    main()
