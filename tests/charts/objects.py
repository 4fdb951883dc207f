"""Questions to rendered objects."""

from collections.abc import Iterable, Iterator
from typing import Any

from tests.charts.helm import Object

#: Where the pod of a kind stands.
TEMPLATES = {"Deployment": ("spec", "template"), "StatefulSet": ("spec", "template"), "Job": ("spec", "template"), "Pod": ()}
#: The labels that selectors use, and that no upgrade may change.
FROZEN = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component")


def of_kind(objects: Iterable[Object], *kinds: str) -> list[Object]:
    """Return the objects of some kinds."""
    return [each for each in objects if each["kind"] in kinds]


def find(objects: Iterable[Object], kind: str, ending: str = "") -> Object:
    """Return the only object of a kind whose name ends so."""
    found = [each for each in of_kind(objects, kind) if each["metadata"]["name"].endswith(ending)]
    assert len(found) == 1, f"{len(found)} {kind} end with {ending!r}"
    return found[0]


def title(each: Object) -> str:
    """Return what to call an object in a message."""
    return f"{each['kind']}/{each['metadata']['name']}"


def pods(objects: Iterable[Object]) -> Iterator[tuple[str, Object]]:
    """Return the pods that objects make: title of the object, and ``metadata`` and ``spec`` of the pod."""
    for each in of_kind(objects, *TEMPLATES):
        pod: Any = each
        for key in TEMPLATES[each["kind"]]:
            pod = pod[key]
        yield title(each), pod


def containers(pod: Object) -> list[Object]:
    """Return the containers of a pod, those that run first included."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def is_ours(container: Object) -> bool:
    """Tell whether a container runs the service's image, not a database's."""
    return "fastapi-platform" in container["image"]


def environment(objects: list[Object], container: Object) -> dict[str, str]:
    """Return the environment of a container as far as the render knows it: nothing of Secrets that are elsewhere."""
    known: dict[str, str] = {}
    for source in container.get("envFrom", []):
        kind, reference = ("ConfigMap", "configMapRef") if "configMapRef" in source else ("Secret", "secretRef")
        for each in of_kind(objects, kind):
            if each["metadata"]["name"] == source[reference]["name"]:
                known |= each.get("data", each.get("stringData", {}))
    return known | {each["name"]: each.get("value", "") for each in container.get("env", [])}


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Tell whether a label selector picks labels; it understands ``In`` alone."""
    exact = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return exact and all(
        each["operator"] == "In" and labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", [])
    )
