"""The page of growth: the plan on paper for 1 million and 100 million users, with the numbers of the capacity model."""

from collections.abc import Iterator
from dataclasses import fields, replace
from textwrap import wrap
from typing import Any, Final

from infra import growth
from infra.config import StageConfig
from infra.field_texts import field_texts
from infra.growth import ASSUMED, LIMITS, REQUESTS, Assumptions, Plan

USERS: Final = (1_000_000, 10_000_000, 100_000_000)
STEPS: Final = {
    "service.apiMax": "More pods: raise it. Nodes come by themselves.",
    "service.mainMax": "More workers: raise it.",
    "database.maxStorageGib": "Raise it. Storage grows without a pause, and never shrinks.",
    "database.instanceClass: memory": "The next class, in a maintenance window: a failover, a minute or two.",
    "database.instanceClass: processors": "The next class.",
    "database.instanceClass: connections": "`database.proxy: true`, or the next class.",
    "cache.brokerClass": "The next class, without a pause; or keep live events for less than a day.",
}
WALLS: Final = {
    "PostgreSQL: storage": "Cells. Aurora takes 128 TiB and makes a restore no faster.",
    "PostgreSQL: memory for what is read daily": "Cells; or replicas, once the service reads from them, each for some of the owners.",
    "PostgreSQL: commits a second": "Cells: a replica takes no writes, and Aurora has one writer too.",
    "PostgreSQL: processors": "Cells; or replicas, once the service reads from them: nine requests of ten are reads.",
    "broker: commands a second": "A group of its own for live events, queues alone in the other; then a broker a cell.",
    "broker: memory for live events": "Keep them for six hours, or a group of their own; then a broker a cell.",
    "API: pods behind one load balancer": "A second load balancer and release; in cells each has its own.",
}
OTHERWISE: Final = {
    "as assumed": ASSUMED,
    "ten times the requests": replace(ASSUMED, requests_daily=ASSUMED.requests_daily * 10),
    "ten times the items": replace(ASSUMED, items=ASSUMED.items * 10),
    "half of the day's users online at once": replace(ASSUMED, online=0.5),
    "a fifth as much of the data is hot": replace(ASSUMED, hot=ASSUMED.hot / 5),
    "live events kept for six hours": replace(ASSUMED, event_days=0.25),
}
CELLS: Final = (
    (
        "**Divided by owner.** Every index of items begins with `owner_id`, and no request of a user reads another's rows, so a "
        "user and all that is theirs move as one. Outbox, inbox, queues, relay and live events are the cell's own: nothing is "
        "published from one cell to another. Lists that superusers read over all users have to ask every cell."
    ),
    (
        "**Who is where** is one small table: the hash of a mail address and a cell, about 100 bytes a user, 10 GB at 100 "
        "million. It is read at sign-in and registration alone; afterwards the host that the client was told "
        "(`cell-7.api.example.com`) leads to it."
    ),
    ("**A move** copies a user while they are refused writes (503 with `Retry-After`), changes the table, and deletes after a week."),
    ("**Releases** go to one cell, then to a third, then to all: a faulty one reaches the users of one."),
    (
        "**Aurora** instead of cells was weighed: up to 15 readers, storage to 128 TiB and a quicker failover, at a higher "
        "price, and still one writer whose end is everybody's. It is an answer for one cell that is full before its users can "
        "be moved."
    ),
    (
        "**Not built**: the table and the move, and reading from replicas, which the service does not do yet. What is built "
        "keeps them possible. The first is due at about half of what one stack carries: {soon} users."
    ),
)
"""What is said of cells; `soon` is a number of users."""
LETTERS: Final = 136


def page(prod: StageConfig, made: str) -> str:
    """Return the page.

    Args:
        prod: Production's configuration.
        made: The line that says how the page is made.
    """
    parts = (_summary(prod, made), _assumptions(), _plans(prod), _first(prod), _walls(), _cells(), _otherwise(prod), _unknown())
    return "\n".join(line for part in parts for line in (*part, "")).rstrip() + "\n"


def _summary(prod: StageConfig, made: str) -> Iterator[str]:
    part, first = min(growth.carries(prod).items(), key=lambda item: item[1])
    wall, most = min(growth.thresholds().items(), key=lambda item: item[1])
    hundred = growth.plan(USERS[-1])
    yield from ("# 1 million users, and 100 million", "", made, "")
    yield from _prose(
        f"As configured, `prod` carries about {_round(first)} registered users; `{part}` ends first. Larger classes carry one stack to "
        f"about {_round(most)} ({wall}). Beyond, users are divided among cells, each of them this program's stack: 100 million need "
        f"{hundred.cells}. What is large then is not the requests but the data that users keep and read."
    )
    yield ""
    yield from _prose("Everything here is computed by `infra/growth.py`; tests hold its sums, and that this page is what it says.")


def _assumptions() -> Iterator[str]:
    yield from ("## What is assumed", "", "| assumption | value | what it is |", "|---|---:|---|")
    texts = field_texts(growth)["Assumptions"]
    for field in fields(Assumptions):
        yield f"| `{field.name}` | {getattr(ASSUMED, field.name):,} | {texts[field.name]} |"
    yield from ("", "Measured on one core, and so not assumed: processor time in microseconds.", "")
    yield from ("| request | share | API | PostgreSQL |", "|---|---:|---:|---:|")
    for name, kind in REQUESTS.items():
        yield f"| {name} | {kind.share:.0%} | {kind.server} | {kind.database} |"
    yield from ("", "What one stack is not asked to go beyond:", "", "| limit | value | why |", "|---|---:|---|")
    texts = field_texts(growth)["Limits"]
    for field in fields(growth.Limits):
        value: Any = getattr(LIMITS, field.name)
        yield f"| `{field.name}` | {value if isinstance(value, str) else f'{value:,}'} | {texts[field.name]} |"


def _plans(prod: StageConfig) -> Iterator[str]:
    plans = [growth.plan(users) for users in USERS]
    yield from ("## The plans", "", f"| | {' | '.join(f'{plan.users // 10**6} million' for plan in plans)} |")
    yield "|---|" + "---:|" * len(plans)
    for name, values in _rows(plans, prod).items():
        yield f"| {name} | {' | '.join(values)} |"
    yield ""
    yield from _prose(
        "Users are those who registered. Dollars are estimated like those of [the stages](infrastructure-costs.md), at list prices of the "
        "first tier: at the size of the last column they are negotiated."
    )


def _rows(plans: list[Plan], prod: StageConfig) -> dict[str, list[str]]:
    cells = [plan.cell for plan in plans]
    loads = [plan.total for plan in plans]
    prices = [growth.price(plan, prod) for plan in plans]
    return {
        "requests a second, busiest minute": [f"{load.requests:,.0f}" for load in loads],
        "changes a second": [f"{load.changes:,.0f}" for load in loads],
        "live sockets": [f"{load.sockets:,.0f}" for load in loads],
        "processors of the API": [f"{load.server_cpu:.1f}" for load in loads],
        "processors of PostgreSQL": [f"{load.database_cpu:.1f}" for load in loads],
        "processors of workers": [f"{load.worker_cpu:.1f}" for load in loads],
        "GiB in PostgreSQL": [f"{load.storage_gib:,.0f}" for load in loads],
        "GiB of it that should be in memory": [f"{load.memory_gib:,.0f}" for load in loads],
        "MB of write-ahead log a second": [f"{load.log_mb:,.1f}" for load in loads],
        "GiB of live events in Valkey": [f"{load.broker_gib:,.1f}" for load in loads],
        "**cells**": [f"**{plan.cells}**" for plan in plans],
        "in each: API pods": [str(cell.api_pods) for cell in cells],
        "in each: worker pods": [str(cell.worker_pods) for cell in cells],
        f"in each: nodes, {growth.NODE}": [str(cell.nodes) for cell in cells],
        "in each: database, Multi-AZ": [cell.database_class for cell in cells],
        "in each: GiB in it": [f"{cell.load.storage_gib:,.0f}" for cell in cells],
        "in each: connections wanted, offered": [f"{cell.connections:,} of {cell.database_connections:,}" for cell in cells],
        "in each: RDS Proxy": ["yes" if cell.proxy else "no" for cell in cells],
        "in each: read replicas": [str(cell.read_replicas) for cell in cells],
        "in each: broker": [cell.broker_class for cell in cells],
        "in each: addresses of a zone": [str(cell.cluster_addresses) for cell in cells],
        "US dollars a month": [f"{price:,.0f}" for price in prices],
        "US dollars a month for 1,000 users": [f"{price / plan.users * 1000:.2f}" for price, plan in zip(prices, plans, strict=True)],
    }


def _first(prod: StageConfig) -> Iterator[str]:
    yield from ("## From here: what ends first in `prod`, and what to do", "")
    yield from ("Each is a line of `infra/Pulumi.prod.yaml`.", "")
    yield from ("| users | what ends | what to do |", "|---:|---|---|")
    for name, users in sorted(growth.carries(prod).items(), key=lambda item: item[1]):
        yield f"| {_round(users)} | `{name}` | {STEPS[name]} |"


def _walls() -> Iterator[str]:
    yield from ("## Where one stack ends, whatever its classes", "", "| users | what ends | what to do |", "|---:|---|---|")
    for name, users in sorted(growth.thresholds().items(), key=lambda item: item[1]):
        yield f"| {_round(users)} | {name} | {WALLS[name]} |"


def _cells() -> Iterator[str]:
    needs = growth.plan(USERS[-1]).needs
    asked = ", ".join(f"{count} ({name})" for name, count in sorted(needs.items(), key=lambda item: -item[1]) if count > 1)
    soon = _round(min(growth.thresholds().values()) / 2)
    yield from ("## Cells", "")
    yield from _prose(
        f"100 million users need as many cells as the hungriest part wants: {asked}. That is rounded up to a multiple of three, so that as "
        "many are at home in each zone: a cell's primary database stands in one and its stand-in in another, and a lost zone is a failover "
        "of a third of the cells."
    )
    yield ""
    for text in CELLS:
        yield from _prose(text.format(soon=soon), "- ")


def _otherwise(prod: StageConfig) -> Iterator[str]:
    yield from ("## If the assumptions are wrong", "", "What 100 million users need if one of them is another:", "")
    yield from ("| if | cells | API pods each | database each | read replicas each | US dollars a month |", "|---|---:|---:|---|---:|---:|")
    for name, assumed in OTHERWISE.items():
        found = growth.plan(USERS[-1], assumed)
        cell, usd = found.cell, growth.price(found, prod, assumed)
        yield f"| {name} | {found.cells} | {cell.api_pods} | {cell.database_class} | {cell.read_replicas} | {usd:,.0f} |"


def _unknown() -> Iterator[str]:
    yield from ("## What the model does not know", "")
    yield from _prose(
        "Microseconds were measured with the data in memory on one machine, not on these classes. Imports are not in it: bulk workers do "
        "them one after another, and they wait rather than fail. Sockets, the size of data and the cost of a task are assumed, not "
        "measured. Network and disks are not in it either: gp3 from 400 GiB gives 500 MB/s, several times what a cell's log needs. The "
        "load gate on staging is what replaces guesses by numbers."
    )


def _prose(text: str, bullet: str = "") -> list[str]:
    return wrap(text, LETTERS, initial_indent=bullet, subsequent_indent=" " * len(bullet), break_long_words=False, break_on_hyphens=False)


def _round(users: float) -> str:
    """Return a number of users as people say it: no more than two digits are known."""
    for size, name in ((1e6, "million"), (1e3, "thousand")):
        if users >= size:
            return f"{float(f'{users / size:.2g}'):,.10g} {name}"
    return f"{users:.0f}"
