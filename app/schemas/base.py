"""What every schema shares."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from app.core.text import refuse_unstorable


def _rfc3339(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


#: A moment on the wire: RFC 3339 in UTC with microseconds.
UtcTime = Annotated[
    datetime,
    PlainSerializer(_rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]

#: RFC 3339, 5.6. Pydantic takes numbers as well, as seconds or milliseconds of the epoch, and guesses which.
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


def _written_out(value: object) -> object:
    if isinstance(value, str) and _RFC3339.fullmatch(value) is None:
        raise ValueError("Must be a moment as RFC 3339 writes it, such as 2026-01-31T12:00:00Z")
    return value


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("Must be within the years 1 to 9999 in UTC") from None


#: A moment that a client writes: RFC 3339 with an offset.
Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_in_utc)]

#: For text that PostgreSQL can hold: no NUL, no lone surrogate. It stands behind constraints of length: in front of them, their
#: messages would count items instead of characters.
STORABLE: Final = AfterValidator(refuse_unstorable)


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: An integer as JSON Schema has it: `1.0` is one.
Integer = Annotated[int, BeforeValidator(_whole)]


class Schema(BaseModel):
    """Base of what the service sends."""

    model_config = ConfigDict(from_attributes=True)


class Body(BaseModel):
    """Base of what the service reads: an unknown member is an error, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Parameters(Body):
    """Base of what the service reads from a query, where everything is text. Frozen, so that a question asked often is read once."""

    model_config = ConfigDict(strict=False, frozen=True)


def never_null(schema: dict[str, Any]) -> None:
    """Say of a member of a change that it may be left out but not be null. A union without null would blur its errors."""
    schema.update(schema.pop("anyOf")[0])
    del schema["default"]


LEFT_OUT: Final[Any] = Field(default=None, json_schema_extra=never_null)
