"""Locust's way in: ``locust -f loadtests/locustfile.py --worker --master-host HOST`` adds this machine to a run.

A worker is told by the master what to send; see ``loadtests.gate.drive``. Started without a master, Locust's own arguments would make
a closed loop of what is meant to be an open one, so that is refused.
"""

from typing import Any, Final

from locust import events
from locust.runners import WorkerRunner

from loadtests.gate.drive import attach, listen
from loadtests.gate.engine import Visitor

__all__: Final = ["Visitor"]


def install(environment: Any, **_: Any) -> None:
    """Make this process a worker of a run.

    Raises:
        SystemExit: if it was not started as one.
    """
    if not isinstance(environment.runner, WorkerRunner):
        raise SystemExit("Start a run with `python -m loadtests run`; this file is for its workers: --worker --master-host HOST.")
    attach(environment)


listen(events.init, install)
