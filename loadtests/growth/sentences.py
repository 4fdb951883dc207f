"""What a curve says: why it slopes as it does, and which limit comes next. Figures are the run's; the reasons are the design's."""

from collections.abc import Callable
from typing import Any, Final

from app.core.config import Settings
from loadtests.growth import backlog, processes, rows, sockets
from loadtests.growth.curves import MICROSECONDS, Curve, Growth

#: Memory that the sentences on memory reckon with.
CACHE_GIB: Final = 16
GIB: Final = 2**30
#: Nothing measured twice gives the same: what is above by less is not above.
NOISE: Final = 1.25
MINUTE: Final = 60

ROWS: Final = """\
From {smallest:,} to {largest:,} rows the CPU of API and PostgreSQL together changes by factors from {least:.2g} ({least_line})
to {most:.3g} ({most_line}); growing as the logarithm of the rows would be {logarithm:.1f}. {why} The next limit is memory: an item takes
{size:,.0f} bytes with its indexes, so that {gib} GiB hold {millions:,.0f} million; beyond, what is asked for seldom comes from the disk,
and latency grows before CPU does.
"""
ROWS_STEADY: Final = """\
None grows faster: every statement descends an index to where its rows begin and reads little more than it answers with; a hundred times
the rows are about one level more to descend.
"""
ROWS_FASTER: Final = """\
Faster than that: **{lines}**, where PostgreSQL reads rows that it does not answer with, the more of them the larger the table. All others
descend an index to where their rows begin.
"""
SOCKETS: Final = """\
A delivery costs {first:,.1f} µs where there are {smallest:,} sockets, and {last:,.1f} µs where there are {largest:,}: an event costs
{once:,.0f} µs once, to be read and encoded, and {each:,.1f} µs for each socket that it is written to. The next limit is the processor:
a process that does nothing else delivers {most:,.0f} times a second, so that each of the {accepted:,} sockets that it accepts can see
{events:,.1f} events a second. {memory}
"""
SOCKETS_MEMORY: Final = "A socket takes {kib:,.0f} KiB of memory: {accepted:,} of them take {mib:,.0f} MiB."
PROCESSES: Final = """\
Most requests for `{line}` are answered by {best}, {most:,.0f} a second, where {smallest} gives {first:,.0f}: client, PostgreSQL and
processes share {processors:.0f} processors here, and a process more adds none. From {smallest} to {largest} processes the API spends
{factor:.2g} times the CPU on a request: processes share nothing but PostgreSQL and Valkey, so what changes is how warm the processors'
caches are and how many requests one turn of the loop finds. Each further process takes {more:,.0f} MiB. The next limit is PostgreSQL's
connections: a process opens up to {per_process}, and `DATABASE_MAX_CONNECTIONS` allows {allowed} together, which is {processes} processes.
"""
BACKLOG: Final = """\
A task costs {first:.2f} ms of CPU where {smallest:,} wait, and {last:.2f} ms where {largest:,} do: {why} Two worker processes, with
relays, PostgreSQL and Valkey on {processors:.0f} processors, finish {per_second:,.0f} tasks a second, {largest:,} in {lasting}: what is
promised faster than that waits ever longer. More workers finish more, until the next limit: a task takes {postgres:.2f} ms of
PostgreSQL's CPU, so that each of its processors carries {carried:,.0f} tasks a second.
"""
BACKLOG_STEADY: Final = "relays take what is due from the head of an index, so that what waits behind it costs nothing until its turn."
BACKLOG_FASTER: Final = "it grows with what waits, as more of it is looked at than taken."


def of_rows(curve: Curve) -> str:
    """Explain the curve of rows."""
    found = [curve.growth(line, "api", "postgres") for line in curve.lines]
    least, most, first = min(found, key=_factor), max(found, key=_factor), found[0]
    faster = [growth.line for growth in found if growth.factor > growth.logarithm * NOISE]
    size = curve.facts[f"bytes of {first.largest}"] / first.largest
    return ROWS.format(
        smallest=first.smallest,
        largest=first.largest,
        logarithm=first.logarithm,
        least=least.factor,
        least_line=least.line,
        most=most.factor,
        most_line=most.line,
        why=ROWS_FASTER.format(lines="**, **".join(faster)) if faster else ROWS_STEADY,
        size=size,
        gib=CACHE_GIB,
        millions=CACHE_GIB * GIB / size / 1e6,
    )


def of_sockets(curve: Curve) -> str:
    """Explain the curve of sockets."""
    growth = curve.growth(sockets.LINE, "us")
    accepted = _default("WEBSOCKET_MAX_CONNECTIONS")
    kib = curve.along(sockets.LINE)[-1].values.get("kib")
    return SOCKETS.format(
        first=growth.first,
        last=growth.last,
        smallest=growth.smallest,
        largest=growth.largest,
        once=growth.once,
        each=growth.each,
        most=MICROSECONDS / growth.each,
        accepted=accepted,
        events=MICROSECONDS / (growth.each * accepted),
        memory="" if kib is None else SOCKETS_MEMORY.format(kib=kib, accepted=accepted, mib=kib * accepted / 1024),
    )


def of_processes(curve: Curve) -> str:
    """Explain the curve of processes."""
    line = curve.lines[0]
    points = curve.along(line)
    best = max(points, key=lambda point: point.values["per_second"])
    cpu, memory = curve.growth(line, "us"), curve.growth(line, "mib")
    per_process = _default("DATABASE_POOL_SIZE") + _default("DATABASE_AUTOCOMMIT_POOL_SIZE")
    allowed = _default("DATABASE_MAX_CONNECTIONS")
    return PROCESSES.format(
        line=line,
        best="1 process" if best.size == 1 else f"{best.size} processes",
        most=best.values["per_second"],
        first=points[0].values["per_second"],
        smallest=cpu.smallest,
        largest=cpu.largest,
        processors=curve.facts["processors"],
        factor=cpu.factor,
        more=(memory.last - memory.first) / max(1, memory.largest - memory.smallest),
        per_process=per_process,
        allowed=allowed,
        processes=allowed // per_process,
    )


def of_backlog(curve: Curve) -> str:
    """Explain the curve of the backlog."""
    growth = curve.growth(backlog.LINE, "us")
    last = curve.along(backlog.LINE)[-1].values
    return BACKLOG.format(
        first=growth.first / 1000,
        last=growth.last / 1000,
        smallest=growth.smallest,
        largest=growth.largest,
        why=BACKLOG_STEADY if growth.factor <= growth.logarithm * NOISE else BACKLOG_FASTER,
        processors=curve.facts["processors"],
        per_second=last["per_second"],
        lasting=_lasting(growth.largest / last["per_second"]),
        postgres=last["postgres"] / 1000,
        carried=MICROSECONDS / last["postgres"],
    )


def _default(name: str) -> int:
    default: Any = Settings.model_fields[name].default
    return int(default)


def _factor(growth: Growth) -> float:
    return growth.factor


def _lasting(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 2 * MINUTE else f"{seconds / MINUTE:.0f} minutes"


EXPLAIN: Final[dict[str, Callable[[Curve], str]]] = {
    rows.KEY: of_rows,
    sockets.KEY: of_sockets,
    processes.KEY: of_processes,
    backlog.KEY: of_backlog,
}
