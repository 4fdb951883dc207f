"""The journeys, one file each. ``JOURNEYS`` is what profiles name them by, and what each of them calls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from loadtests.scenarios import account, admin, author, browse, cancel_job, import_job, live_events, platform, sign_in
from loadtests.scenarios.visit import Visit


@dataclass(frozen=True, slots=True)
class Journey:
    """A journey.

    Attributes:
        run: Does it.
        calls: Every route it sends a request to, as often as it does in a usual visit.
        flows: Flows of ``slo.yaml`` that it measures.
    """

    run: Callable[[Visit], None]
    calls: tuple[str, ...]
    flows: tuple[str, ...] = ()


JOURNEYS: Final[Mapping[str, Journey]] = {
    "browse": Journey(browse.run, browse.CALLS),
    "author": Journey(author.run, author.CALLS),
    "sign_in": Journey(sign_in.run, sign_in.CALLS),
    "account": Journey(account.run, account.CALLS),
    "admin": Journey(admin.run, admin.CALLS),
    "import_job": Journey(import_job.run, import_job.CALLS, import_job.FLOWS),
    "cancel_job": Journey(cancel_job.run, cancel_job.CALLS),
    "live_events": Journey(live_events.run, live_events.CALLS, live_events.FLOWS),
    "platform": Journey(platform.run, platform.CALLS),
}
