"""Something a worker does every second, while it consumes and while it waits for its broker."""

from typing import Any, Final

from celery import bootsteps

INTERVAL_SECONDS: Final = 1.0


class TurnStep(bootsteps.StartStopStep):
    """A part of the worker whose ``turn`` is called once a second, from the worker's own loop and thus without threads."""

    requires = ("celery.worker.components:Hub",)

    def turn(self, worker: Any) -> None:
        """Do what is to be done now; must not block."""
        raise NotImplementedError

    def register_with_event_loop(self, worker: Any, hub: Any) -> None:
        """Take turns while the worker consumes; Celery calls it after every reconnect."""
        hub.call_repeatedly(INTERVAL_SECONDS, self.turn, worker)


def take_turns(worker: Any) -> None:
    """Give every part its turn."""
    for step in worker.steps:
        if isinstance(step, TurnStep):
            step.turn(worker)
