"""The figures as text and as a plot: for the terminal and for ``docs/reference``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loadtests.bench import background, sockets
from loadtests.bench.figures import OURS, Results, Sample, Spread, Target, targets, written
from loadtests.bench.machine import Machine
from loadtests.bench.people import PEOPLE

#: Colours by server: ours stands out.
COLOURS: Final = {OURS: "#1f6feb"}
OTHER_COLOUR: Final = "#8b949e"

HOW: Final = """\
## How it is measured

Every server runs as one process on a processor of its own; the client, PostgreSQL and Valkey share the others. All are asked the same
over the same {people} connections, a signed-in user each, in closed loop: a connection sends its next request when the last was answered.
Servers take turns within each of {rounds} rounds of {seconds:g} s per request, after a warm-up.

The figure that counts is **requests per CPU second**: answers divided by the time, user and system, of all processes of the server, from
`/proc`. Other work on the machine slows requests per second and latencies down at once, this figure less: caches are colder, and fewer
events come at a time. A ratio compares each round with itself; a figure is the median of the rounds, its lowest and highest in brackets.

Ours is the API as it ships: limits, metrics, access log, request ids, security headers, idempotency, revocation. The peers
([loadtests/peers](../../loadtests/peers/README.md)) run bare. All use the same tables, rows and key, and verify signature, expiry, issuer
and audience of the token; each has at most 10 connections to PostgreSQL, ours 5 for single statements and 5 for transactions. Before the
clock starts every answer is compared with ours: the same bytes, except from textbook FastAPI, which writes the same JSON in its own
spacing; and everybody must refuse what is to be refused. While it runs every body is compared, and every item that was acknowledged
is counted, its event with it. PostgreSQL does not vacuum by itself meanwhile; what a measurement wrote is taken out after it.

Live events: {sockets:,} sockets of one user, {events} events one by one through the outbox; the CPU is the API's. Import: {rows:,} flights
as CSV, from the request to the finished job. Tasks: {tasks:,} promised in the outbox; the CPU is that of both workers, their relays,
PostgreSQL and Valkey, from the promise to the record that it is done.
"""


@dataclass(frozen=True, slots=True)
class Context:
    """What a report says besides the figures.

    Attributes:
        machine: Where and when.
        other_work: Processors that other work kept busy meanwhile.
        titles: How servers are called in tables, by name.
        versions: What each server is made of, by title.
        left_out: Why a peer was not measured, by its name.
        rounds: Rounds of the requests.
        seconds: Seconds of each measurement.
    """

    machine: Machine
    other_work: float
    titles: dict[str, str]
    versions: dict[str, str]
    left_out: dict[str, str]
    rounds: int
    seconds: float


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, names: int = 1) -> str:
    """Return a table in Markdown; every column behind the first ``names`` is aligned to the right."""
    rule = ["---" if column < names else "---:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows)) + "\n"


def figures(results: Results, context: Context) -> str:
    """Return every figure, as Markdown."""
    sections = ["## Targets\n", targets_table(targets(results))]
    if results.samples:
        sections += [
            "## Requests\n",
            requests_table(results, context.titles),
            "Ours over each peer, in requests per CPU second (higher is better):\n",
            ratios_table(results, context.titles, _per_cpu),
            "Ours over each peer, in CPU of server and PostgreSQL per request (lower is better):\n",
            ratios_table(results, context.titles, _total),
        ]
    return "\n".join([*sections, "## Memory, live events, imports, tasks\n", others_table(results, context.titles)])


def page(results: Results, context: Context) -> str:
    """Return the page of the reference."""
    how = HOW.format(
        people=PEOPLE,
        rounds=context.rounds,
        seconds=context.seconds,
        sockets=sockets.SOCKETS,
        events=sockets.EVENTS,
        rows=background.ROWS,
        tasks=background.TASKS,
    )
    sections = [
        "# Benchmark\n",
        "<!-- Written by `make bench ARGS=--write-docs`. -->\n",
        "What the API costs as it ships, beside bare servers that do the same work. `make bench` measures it anew.\n",
        "![Requests per CPU second of each server, by request](benchmark.svg)\n",
        figures(results, context),
        "## Where and when\n",
        machine_table(context),
        how,
    ]
    return "\n".join(sections)


def targets_table(found: Sequence[Target]) -> str:
    """Return the targets with what was measured."""
    rows = [(target.name, target.measured, f"**{target.outcome}**" if target.outcome == "missed" else target.outcome) for target in found]
    return table(("target", "measured", "outcome"), rows)


def requests_table(results: Results, titles: dict[str, str]) -> str:
    """Return what each request costs on each server."""
    head = ("request", "server", "requests per CPU s", "server, CPU µs", "PostgreSQL, CPU µs", "both", "requests/s", "p50, ms", "p99, ms")
    rows: list[tuple[str, ...]] = []
    for scenario in results.scenarios:
        for server in results.servers:

            def middle(figure: Any, form: str, *, scenario: str = scenario, server: str = server) -> str:
                return form.format(results.spread(server, scenario, figure).middle)

            rows.append(
                (
                    scenario,
                    titles[server],
                    written(results.spread(server, scenario, _per_cpu), "{:,.0f}"),
                    middle(_server, "{:,.0f}"),
                    middle(_postgres, "{:,.0f}"),
                    middle(_total, "{:,.0f}"),
                    middle(_per_second, "{:,.0f}"),
                    middle(_p50, "{:.1f}"),
                    middle(_p99, "{:.1f}"),
                )
            )
    return table(head, rows, names=2)


def ratios_table(results: Results, titles: dict[str, str], figure: Any) -> str:
    """Return ours over each peer by request."""
    peers = [server for server in results.servers if server != OURS]
    rows = [(scenario, *(_ratio(results.ratio(peer, scenario, figure)) for peer in peers)) for scenario in results.scenarios]
    return table(("request", *(titles[peer] for peer in peers)), rows)


def others_table(results: Results, titles: dict[str, str]) -> str:
    """Return memory, live events, imports and tasks."""
    rows = [(f"memory of a process, {titles[server]}", f"{mib:.0f} MiB") for server, mib in results.memory.items()]
    if (fanout := results.fanout) is not None:
        rows += [
            (f"live events to {fanout.sockets:,} sockets: CPU of the API per delivery", written(fanout.microseconds, "{:.1f} µs")),
            ("deliveries per second", written(fanout.per_second, "{:,.0f}")),
        ]
    if (imported := results.imported) is not None:
        rows += [
            ("import: rows per second", written(imported.per_second, "{:,.0f}")),
            ("import: CPU per row, worker", written(imported.worker_us, "{:.0f} µs")),
            ("import: CPU per row, PostgreSQL", written(imported.postgres_us, "{:.0f} µs")),
        ]
    if (tasks := results.tasks) is not None:
        rows += [
            ("a task that does nothing: CPU", written(tasks.microseconds, "{:.0f} µs")),
            ("of that workers and relays", written(tasks.workers_us, "{:.0f} µs")),
            ("of that PostgreSQL", written(tasks.postgres_us, "{:.0f} µs")),
            ("of that Valkey", written(tasks.valkey_us, "{:.0f} µs")),
            ("tasks per second", written(tasks.per_second, "{:,.0f}")),
        ]
    return table(("figure", "value"), rows)


def machine_table(context: Context) -> str:
    """Return where and when, what the servers are made of, and what is missing."""
    machine = context.machine
    rows = [
        ("date", machine.date),
        ("machine", f"{machine.cores} x {machine.processor}, {machine.memory_gib:.0f} GiB"),
        ("system", machine.kernel),
        ("other work meanwhile", f"{context.other_work:.1f} of {machine.cores} processors"),
        *context.versions.items(),
        *((f"left out: {name}", reason.partition("\n")[0]) for name, reason in context.left_out.items()),
    ]
    return table(("what", "which"), rows, names=2)


def plot(results: Results, titles: dict[str, str], path: Path) -> None:
    """Draw requests per CPU second, a panel per request; the whiskers are the lowest and the highest round."""
    import matplotlib as mpl  # noqa: PLC0415  # costs a second, and only who draws needs it

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    library: Any = plt  # its own types are partial
    with library.rc_context({"svg.hashsalt": "benchmark", "font.size": 9}):
        figure, panels = library.subplots(1, len(results.scenarios), figsize=(2.6 * len(results.scenarios), 3.2), squeeze=False)
        for panel, scenario in zip(panels[0], results.scenarios, strict=True):
            _draw(panel, results, titles, scenario)
        figure.suptitle("Requests per CPU second of the server's processes; more is better")
        figure.tight_layout()
        figure.savefig(path, format="svg", metadata={"Date": None})
        library.close(figure)
    # Matplotlib ends some lines with blanks, which editors and hooks take away again.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def _draw(panel: Any, results: Results, titles: dict[str, str], scenario: str) -> None:
    spreads = {server: results.spread(server, scenario, _per_cpu) for server in results.servers}
    middles = [spread.middle for spread in spreads.values()]
    errors = [[spread.middle - spread.low for spread in spreads.values()], [spread.high - spread.middle for spread in spreads.values()]]
    names = [titles[server].replace(" ", "\n") for server in spreads]
    bars = panel.bar(names, middles, yerr=errors, color=[COLOURS.get(server, OTHER_COLOUR) for server in spreads], capsize=3)
    panel.bar_label(bars, labels=[f"{middle:,.0f}" for middle in middles], padding=2, fontsize=8)
    panel.set_title(scenario)
    panel.set_yticks([])
    panel.margins(y=0.15)
    panel.spines[["top", "right", "left"]].set_visible(False)


def _ratio(spread: Spread | None) -> str:
    return "-" if spread is None else written(spread)


def _per_cpu(sample: Sample) -> float:
    return sample.per_cpu_second


def _server(sample: Sample) -> float:
    return sample.server_us


def _postgres(sample: Sample) -> float:
    return sample.postgres_us


def _total(sample: Sample) -> float:
    return sample.total_us


def _per_second(sample: Sample) -> float:
    return sample.per_second


def _p50(sample: Sample) -> float:
    return sample.p50 * 1000


def _p99(sample: Sample) -> float:
    return sample.p99 * 1000
