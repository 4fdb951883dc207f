"""Registrations made in moto one after the other, each as soon or as late as its dependencies allow.

What nothing waits for may come at any moment on the real engine. Two orders, of which one is the other's reverse wherever dependencies
leave a choice, show what a program forgot to wait for.
"""

import json
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from infra.registrations import Graph, Resource
from tests.infra.rehearsal.kinds import kind
from tests.infra.rehearsal.making.cloud import RECIPES, Cloud
from tests.infra.rehearsal.values import plain, strings
from tests.infra.rehearsal.world import World

LEAST: Final = 8
"""Characters of a made-up value, from which on it is taken for one of a kind."""


def ordered(graph: Graph, *, reverse: bool) -> Iterator[Resource]:
    """Yield resources after those they depend on, and otherwise by name: from the first to the last, or the other way round."""
    waiting = {resource.urn: (resource.dependencies | {resource.parent}) & _urns(graph) for resource in graph.resources}
    while waiting:
        ready = sorted((urn for urn, needed in waiting.items() if not needed & waiting.keys()), reverse=reverse)
        # One at a time: what it was waited with for becomes ready, and takes its place among the others.
        urn = ready[0]
        del waiting[urn]
        yield graph[urn]


def _urns(graph: Graph) -> frozenset[str]:
    return frozenset(resource.urn for resource in graph.resources)


def create(graph: Graph, endpoint: str, *, reverse: bool = False) -> tuple[World, list[str]]:
    """Create everything in moto, and return what was made, and what AWS had against it.

    Args:
        graph: What was registered.
        endpoint: Of moto.
        reverse: Whether to take the other order.
    """
    _forget(endpoint)
    cloud = Cloud(endpoint)
    world = World(cloud)
    provider = graph.one("pulumi:providers:aws", "aws")
    cloud.configure({name: _json(value) for name, value in provider.inputs.items()})
    made: dict[str, str] = {}
    problems: list[str] = []
    for resource in ordered(graph, reverse=reverse):
        if not resource.custom or resource.type.startswith("pulumi:"):
            continue
        try:
            thing = world.create(resource.urn, resource.type, _real(resource, made))
        except Exception as error:  # noqa: BLE001  # whatever moto answers is a finding
            problems.append(f"{resource.type}::{resource.name}: {error}")
        else:
            made |= _translations(resource, thing.id, plain(thing.outputs))
    return world, problems


def _forget(endpoint: str) -> None:
    """Let moto forget what was made before: its memory is the process's."""
    request = urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request):
        pass


def _json(value: Any) -> Any:
    """Providers get everything but text as JSON."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _real(resource: Resource, made: Mapping[str, str]) -> dict[str, Any]:
    """Return the inputs with what moto made in the place of what was made up."""
    inputs = dict(resource.inputs)
    if named := kind(resource.type).name:
        inputs.setdefault(named, resource.outputs[named])
    text = json.dumps(inputs)
    for plausible, real in made.items():
        if plausible in text:
            text = text.replace(plausible, real)
    return json.loads(text)


def _translations(resource: Resource, id_: str, outputs: Mapping[str, Any]) -> dict[str, str]:
    """Return what was made up for a resource, and what moto made instead; the longest first, for one may be a part of another."""
    inputs = {text for _, text in strings(dict(resource.inputs))}
    pairs = {resource.id: id_}
    for name, value in resource.outputs.items():
        if name != "region" and isinstance(value, str) and isinstance(outputs.get(name), str):
            pairs[value] = outputs[name]
    pairs |= _nested(resource.outputs, outputs)
    return {old: new for old, new in pairs.items() if old != new and len(old) >= LEAST and old not in inputs}


def _nested(old: Any, new: Any) -> dict[str, str]:
    """Return the pairs of text within lists and objects."""
    if isinstance(old, str) and isinstance(new, str):
        return {old: new}
    pairs: dict[str, str] = {}
    for first, second in _parts(old, new):
        pairs |= _nested(first, second)
    return pairs


def _parts(old: Any, new: Any) -> list[tuple[Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        before, after = cast("Mapping[str, Any]", old), cast("Mapping[str, Any]", new)
        return [(before[name], after[name]) for name in before.keys() & after.keys()]
    if isinstance(old, list) and isinstance(new, list):
        return list(zip(cast("list[Any]", old), cast("list[Any]", new), strict=False))
    return []


def in_moto(graph: Graph) -> tuple[int, int]:
    """Return how many resources moto itself makes, and how many there are."""
    resources = list(graph.custom)
    return sum(resource.type in RECIPES for resource in resources), len(resources)
