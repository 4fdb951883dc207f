"""Read values.yaml with its comments: what each value is, where one is shown, and what holds for a group of them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

COMMENT = re.compile(r"^\s*# ?(.*)$")


@dataclass(frozen=True)
class Value:
    """A value of the chart, or a group of values.

    Attributes:
        path: Keys that lead to it, from the root.
        default: What it is unless set.
        description: The text of its ``# --`` comment; empty for a group.
        example: The text of ``# @example``; empty without one.
        note: The text of a plain comment right above it.
        children: The values in it, where it is a map.
    """

    path: tuple[str, ...]
    default: Any
    description: str = ""
    example: str = ""
    note: str = ""
    children: tuple["Value", ...] = field(default=())

    @property
    def name(self) -> str:
        """The path as ``--set`` takes it."""
        return ".".join(self.path)

    def walk(self) -> Iterator["Value"]:
        """Return this value and all below it, in the order of the file."""
        if self.path:
            yield self
        for child in self.children:
            yield from child.walk()


def read_values(path: Path) -> Value:
    """Return the root of a values file."""
    text = path.read_text(encoding="utf-8")
    root: Any = cast("Any", yaml).compose(text)
    return _value((), root, text.splitlines(), _Comment())


@dataclass(frozen=True)
class _Comment:
    description: str = ""
    example: str = ""
    note: str = ""


def _value(path: tuple[str, ...], node: Any, lines: list[str], comment: _Comment) -> Value:
    children = [
        _value((*path, key.value), child, lines, _comment_above(lines, key.start_mark))
        for key, child in (node.value if isinstance(node, yaml.MappingNode) else ())
    ]
    default = yaml.safe_load(cast("Any", yaml).serialize(node))
    return Value(path, default, comment.description, comment.example, comment.note, tuple(children))


def _comment_above(lines: list[str], mark: yaml.Mark) -> _Comment:
    """Return what is said right above a key; nothing for a key in the middle of a line."""
    if lines[mark.line][: mark.column].strip():
        return _Comment()
    block: list[str] = []
    for line in reversed(lines[: mark.line]):
        if not (match := COMMENT.match(line)):
            break
        block.insert(0, match[1])
    parts: dict[str, list[str]] = {"note": [], "description": [], "example": []}
    part = "note"
    for line in block:
        marker, _, rest = line.partition(" ")
        part = {"--": "description", "@example": "example"}.get(marker, part)
        parts[part].append(rest if marker in {"--", "@example"} else line)
    return _Comment(**{name: " ".join(words) for name, words in parts.items()})
