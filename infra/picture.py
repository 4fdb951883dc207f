"""Draws a stage's whole graph as SVG: a box a component, rows in the order in which they are made.

The layout is that of Sugiyama, Tagawa and Toda (1981) in its plainest form: rows by dependency, a channel through every row that an arrow
crosses, order within rows by the middle of what each is bound to.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from textwrap import wrap
from typing import Final

from infra.registrations import Graph, Resource

WIDTH: Final = 1600
MARGIN: Final = 40
GUTTER: Final = 30
GAP: Final = 26
"""Between boxes of a row."""
WIDEST: Final = 760
ROW_GAP: Final = 70
CHANNEL: Final = 16
LINE: Final = 15
HEADER: Final = 30
PADDING: Final = 12
LETTER: Final = 5.9
"""Average width of a letter of the list, in pixels."""
SWEEPS: Final = 8
TITLE: Final = 64

type Edge = tuple[str, str]
"""What is made first, and what needs it."""


@dataclass(frozen=True, slots=True)
class Box:
    """A component: its name, and its resources as lines, those of nested components under their names."""

    name: str
    count: int
    groups: tuple[tuple[str, str], ...]
    """A resource type with its number, and the names of the resources."""
    protected: int


@dataclass(slots=True)
class Place:
    """Where a box or a channel is."""

    x: float
    width: float
    top: float = 0
    height: float = 0
    bottom: float = 0
    """Of the row."""

    @property
    def middle(self) -> float:
        """Its middle from the left."""
        return self.x + self.width / 2


def draw(graph: Graph, title: str) -> str:
    """Return the picture of a graph.

    Args:
        graph: What a stage registers.
        title: Heading of the picture.
    """
    owners = _owners(graph)
    boxes = _boxes(graph, owners)
    weights = _weights(graph, owners)
    order = _order(list(boxes), weights)
    rank = {name: number for number, name in enumerate(order)}
    edges = {edge for edge in weights if rank[edge[0]] < rank[edge[1]]}
    shown = _reduced(edges)
    back = sorted(set(weights) - edges)
    rows, paths = _rows(order, shown)
    rows = _untangled(rows, paths)
    places, height = _places(rows, boxes)
    parts = [*_arrows(paths, places), *_back(back, places), *(part for name in order for part in _box(boxes[name], places[name]))]
    return _document(title, _legend(graph, back), height, parts)


def _owners(graph: Graph) -> dict[str, tuple[str, str]]:
    """Return for the URN of each resource the name of its outermost component, and of the innermost."""
    components = {resource.urn: resource for resource in graph.resources if not resource.custom}
    found: dict[str, tuple[str, str]] = {}
    for resource in graph.resources:
        chain: list[str] = []
        urn = resource.urn
        while urn in graph:
            if urn in components:
                chain.append(components[urn].name)
            urn = graph[urn].parent
        if chain:
            found[resource.urn] = (chain[-1], chain[0])
    return found


def _boxes(graph: Graph, owners: Mapping[str, tuple[str, str]]) -> dict[str, Box]:
    members: dict[str, list[tuple[str, Resource]]] = defaultdict(list)
    for resource in graph.custom:
        outer, inner = owners[resource.urn]
        members[outer].append((inner, resource))
    return {name: _one_box(name, members[name]) for name in sorted(members)}


def _one_box(name: str, members: Sequence[tuple[str, Resource]]) -> Box:
    groups: dict[tuple[bool, str, str], list[str]] = defaultdict(list)
    for inner, resource in members:
        groups[inner != name, inner, resource.type].append(resource.name)
    lines = tuple(
        (
            f"{inner}: " * nested + kind.rpartition(":")[2] + (f" \N{MULTIPLICATION SIGN} {len(names)}" if len(names) > 1 else ""),
            _names(names),
        )
        for (nested, inner, kind), names in sorted(groups.items())
    )
    return Box(name, len(members), lines, sum(resource.protect for _, resource in members))


def _names(names: Sequence[str]) -> str:
    """Return names with those that differ by their number alone drawn together: `data-0…2`."""
    numbered: dict[str, list[int]] = defaultdict(list)
    for name in names:
        stem, _, number = name.rpartition("-")
        numbered[stem if number.isdecimal() else name].append(int(number) if number.isdecimal() else -1)
    return ", ".join(sorted(_run(stem, sorted(numbers)) for stem, numbers in numbered.items()))


def _run(stem: str, numbers: Sequence[int]) -> str:
    if numbers[0] < 0:
        return stem
    return f"{stem}-{numbers[0]}" + (f"…{numbers[-1]}" if len(numbers) > 1 else "")


def _weights(graph: Graph, owners: Mapping[str, tuple[str, str]]) -> dict[Edge, int]:
    """Return how many resources of one component need one of another."""
    weights: dict[Edge, int] = defaultdict(int)
    for resource in graph.custom:
        needed = {owners[urn][0] for urn in resource.dependencies if urn in owners}
        for other in needed - {owners[resource.urn][0]}:
            weights[other, owners[resource.urn][0]] += 1
    return dict(weights)


def _order(names: Sequence[str], weights: Mapping[Edge, int]) -> list[str]:
    """Return components after what they need; of those that need each other, the one first that needs less, and is needed more."""
    placed: list[str] = []
    while len(placed) < len(names):
        waiting = [name for name in names if name not in placed]

        def missing(name: str, waiting: Sequence[str] = waiting) -> int:
            return sum(weight for (first, second), weight in weights.items() if second == name and first in waiting)

        def wanted(name: str) -> int:
            return sum(weight for (first, _), weight in weights.items() if first == name)

        placed.append(min(waiting, key=lambda name: (missing(name), -wanted(name), name)))
    return placed


def _reduced(edges: set[Edge]) -> set[Edge]:
    """Leave out what follows from the others: if a leads to b and b to c, a to c is not drawn."""

    def reaches(start: str, end: str, *, without: Edge) -> bool:
        return any(
            second == end or reaches(second, end, without=without)
            for first, second in edges
            if first == start and (first, second) != without
        )

    return {edge for edge in edges if not reaches(*edge, without=edge)}


def _rows(order: Sequence[str], edges: set[Edge]) -> tuple[list[list[str]], list[list[str]]]:
    """Return rows of boxes and channels, and for each edge the boxes and channels on its way."""
    row: dict[str, int] = {}
    for name in order:
        row[name] = max((row[first] + 1 for first, second in edges if second == name), default=0)
    for name in reversed(order):  # what needs nothing stands near to what needs it
        if not any(second == name for _, second in edges):
            row[name] = min((row[second] - 1 for first, second in edges if first == name), default=0)
    rows: list[list[str]] = [[] for _ in range(max(row.values()) + 1)]
    for name in order:
        rows[row[name]].append(name)
    paths: list[list[str]] = []
    for first, second in sorted(edges):
        path = [first]
        for number in range(row[first] + 1, row[second]):
            channel = f"{first}>{second}>{number}"
            rows[number].append(channel)
            path.append(channel)
        paths.append([*path, second])
    return rows, paths


def _untangled(rows: list[list[str]], paths: Sequence[Sequence[str]]) -> list[list[str]]:
    """Order each row by the middle of what it is bound to above and below, a few times over."""
    bound: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        for first, second in pairwise(path):
            bound[first].append(second)
            bound[second].append(first)
    where = {name: number / max(1, len(row) - 1) for row in rows for number, name in enumerate(row)}
    for _ in range(SWEEPS):
        for row in rows:
            row.sort(key=lambda name: (sum(where[other] for other in bound[name]) / max(1, len(bound[name])), name))
            where.update({name: (number + 0.5) / len(row) for number, name in enumerate(row)})
    return rows


def _places(rows: Sequence[Sequence[str]], boxes: Mapping[str, Box]) -> tuple[dict[str, Place], float]:
    places: dict[str, Place] = {}
    top = float(TITLE + MARGIN)
    for row in rows:
        count = sum(name in boxes for name in row)
        room = WIDTH - 2 * MARGIN - GUTTER - (len(row) - 1) * GAP - (len(row) - count) * CHANNEL
        width = min(WIDEST, room / max(1, count))
        x = MARGIN + (room - count * width) / 2
        for name in row:
            place = Place(x, width if name in boxes else CHANNEL, top)
            place.height = _height(boxes[name], width) if name in boxes else 0
            places[name] = place
            x += place.width + GAP
        bottom = top + max(places[name].height for name in row)
        for name in row:
            places[name].bottom = bottom
        top = bottom + ROW_GAP
    return places, top - ROW_GAP + MARGIN


def _lines(box: Box, width: float) -> Iterator[tuple[str, str]]:
    """Yield the lines of a box as (type, text): the type on the first line of a group alone."""
    letters = int((width - 2 * PADDING) / LETTER)
    for kind, names in box.groups:
        first, *others = wrap(f"{kind}  {names}", letters, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
        yield kind, first[len(kind) :]
        yield from (("", other) for other in others)


def _height(box: Box, width: float) -> float:
    return HEADER + PADDING + len(list(_lines(box, width))) * LINE + PADDING / 2


def _box(box: Box, place: Place) -> Iterator[str]:
    x, y = place.x, place.top
    count = f"{box.count} resources" + (f", {box.protected} protected" if box.protected else "")
    yield f'<g><rect class="box" x="{x:.1f}" y="{y:.1f}" width="{place.width:.1f}" height="{place.height:.1f}" rx="6"/>'
    yield f'<text class="name" x="{x + PADDING:.1f}" y="{y + 21:.1f}">{escape(box.name)}</text>'
    yield f'<text class="count" x="{x + place.width - PADDING:.1f}" y="{y + 21:.1f}" text-anchor="end">{count}</text>'
    for number, (kind, text) in enumerate(_lines(box, place.width)):
        height = y + HEADER + PADDING + number * LINE
        left = x + PADDING + (0 if kind else 14)
        label = f'<tspan class="type">{escape(kind)}</tspan>' if kind else ""
        yield f'<text class="line" x="{left:.1f}" y="{height:.1f}">{label}{escape(_spaced(text, kind))}</text>'
    yield "</g>"


def _spaced(text: str, kind: str) -> str:
    return f"\u2002{text.strip()}" if kind else text.strip()


def _arrows(paths: Sequence[Sequence[str]], places: Mapping[str, Place]) -> Iterator[str]:
    """Draw each edge from the foot of its first box through the channels to the head of its last."""
    feet, heads = _ports(paths, places, start=True), _ports(paths, places, start=False)
    for number, path in enumerate(paths):
        place = places[path[0]]
        x = feet[number]
        steps = [f"M{x:.1f},{place.top + place.height:.1f} V{place.bottom:.1f}"]
        y = place.bottom
        for name in path[1:]:
            place = places[name]
            to = heads[number] if name == path[-1] else place.middle
            end = place.top - (6 if name == path[-1] else 0)
            bend = (place.top - y) / 2
            steps.append(f"C{x:.1f},{y + bend:.1f} {to:.1f},{place.top - bend:.1f} {to:.1f},{end:.1f}")
            if name != path[-1]:
                steps.append(f"V{place.bottom:.1f}")
            x, y = to, place.bottom
        yield f'<path class="arrow" d="{" ".join(steps)}"><title>{escape(path[-1])} needs {escape(path[0])}</title></path>'


def _ports(paths: Sequence[Sequence[str]], places: Mapping[str, Place], *, start: bool) -> dict[int, float]:
    """Return where on its box each path begins or ends: spread, in the order of where they go."""
    at: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for number, path in enumerate(paths):
        box, neighbour = (path[0], path[1]) if start else (path[-1], path[-2])
        at[box].append((places[neighbour].middle, number))
    return {
        number: places[box].x + places[box].width * (position + 1) / (len(found) + 1)
        for box, found in at.items()
        for position, (_, number) in enumerate(sorted(found))
    }


def _back(edges: Sequence[Edge], places: Mapping[str, Place]) -> Iterator[str]:
    """Draw what leads back to a row above, around everything."""
    for number, (first, second) in enumerate(edges):
        start, end = places[first], places[second]
        edge = WIDTH - MARGIN + 4 + number * 8
        left, right = start.x + start.width - 18, end.x + end.width - 18
        above, below = start.top - ROW_GAP / 3, end.bottom + ROW_GAP / 3
        yield (
            f'<path class="arrow back" d="M{left:.1f},{start.top:.1f} V{above:.1f} H{edge:.1f} V{below:.1f} H{right:.1f} '
            f'V{end.top + end.height + 6:.1f}"><title>{escape(second)} needs {escape(first)}</title></path>'
        )


def _legend(graph: Graph, back: Sequence[Edge]) -> str:
    count = sum(1 for _ in graph.custom)
    protected = sum(resource.protect for resource in graph.custom)
    text = f"{count} resources, {protected} of them protected. An arrow leads from what is made first to what needs it; what follows "
    text += "from other arrows is not drawn."
    if back:
        pairs = ", ".join(f"a later part of {second} needs {first}" for first, second in back)
        text += f" Dashed: {pairs}."
    return text


STYLE: Final = re.sub(
    r"\s+",
    " ",
    """
    text { font-family: Helvetica, Arial, 'Liberation Sans', sans-serif; fill: #1f2933 }
    .title { font-size: 22px; font-weight: bold } .legend { font-size: 13px; fill: #52606d }
    .box { fill: #ffffff; stroke: #3e6a8f; stroke-width: 1.5 } .name { font-size: 15px; font-weight: bold; fill: #1d4e78 }
    .count { font-size: 11px; fill: #52606d } .line { font-size: 11.5px; fill: #52606d } .type { font-weight: bold; fill: #1f2933 }
    .arrow { fill: none; stroke: #7b8794; stroke-width: 1.6; marker-end: url(#head) }
    .back { stroke-dasharray: 6 4; stroke: #b5632b; marker-end: url(#head-back) }
    """,
).strip()


def _document(title: str, legend: str, height: float, parts: Sequence[str]) -> str:
    heads = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="5" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        f'<path d="M0,0 L8,4 L0,8 z" fill="{colour}"/></marker>'
        for name, colour in (("head", "#7b8794"), ("head-back", "#b5632b"))
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f"<defs>{heads}</defs>",
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="#f7f9fb"/>',
        f'<text class="title" x="{MARGIN}" y="40">{escape(title)}</text>',
        f'<text class="legend" x="{MARGIN}" y="62">{escape(legend)}</text>',
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"
