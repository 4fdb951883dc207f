"""Values as the engine's protocol carries them: secrets are objects with a signature, what is not known yet is a certain string."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from google.protobuf import json_format, struct_pb2
from pulumi.runtime import rpc

type Values = dict[str, Any]

UNKNOWN: Final = rpc.UNKNOWN
SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"
#: Which inputs Check made up, as the provider notes it for its later self.
DEFAULTS: Final = "__defaults"


def decode(struct: struct_pb2.Struct) -> Values:
    """Return what a message carries; whole numbers, which it has as floats, are integers again."""
    return cast("Values", _whole(json_format.MessageToDict(struct)))


def encode(values: Mapping[str, Any]) -> struct_pb2.Struct:
    """Return values as a message carries them."""
    struct = struct_pb2.Struct()
    json_format.ParseDict({name: value for name, value in values.items() if value is not None}, struct)
    return struct


def secret(value: Any) -> Values:
    """Return a value marked as secret."""
    return {SIGNATURE: SECRET, "value": value}


def is_secret(value: Any) -> bool:
    """Say whether a value is marked as secret."""
    return isinstance(value, dict) and cast("Values", value).get(SIGNATURE) == SECRET


def plain(value: Any) -> Any:
    """Return a value without its marks."""
    if is_secret(value):
        return plain(value["value"])
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in cast("Values", value).items()}
    if isinstance(value, list):
        return [plain(inner) for inner in cast("list[Any]", value)]
    return value


def secrets_of(value: Any) -> Iterator[str]:
    """Return the strings that are marked as secret, or stand in something that is."""
    if is_secret(value):
        yield from (text for _, text in strings(plain(value)))
    elif isinstance(value, dict):
        for inner in cast("Values", value).values():
            yield from secrets_of(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from secrets_of(inner)


def strings(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Return every string, with the name of the property that it stands in."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for inner_name, inner in cast("Values", value).items():
            yield from strings(inner, inner_name)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from strings(inner, name)


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Return the paths of what differs, with dots, and without the positions in lists: ``vpcConfig.subnetIds``."""
    old, new = plain(old), plain(new)
    if isinstance(old, dict) and isinstance(new, dict):
        before, after = cast("Values", old), cast("Values", new)
        for name in sorted(before.keys() | after.keys()):
            if name != DEFAULTS:
                yield from differences(before.get(name), after.get(name), f"{path}.{name}" if path else name)
    elif isinstance(old, list) and isinstance(new, list) and len(cast("list[Any]", old)) == len(cast("list[Any]", new)):
        for before, after in zip(cast("list[Any]", old), cast("list[Any]", new), strict=True):
            yield from differences(before, after, path)
    elif old != new and path:
        yield path


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _whole(inner) for name, inner in cast("Values", value).items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in cast("list[Any]", value)]
    return value
