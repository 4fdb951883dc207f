"""What every schema shares."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer

from app.core.text import refuse_unstorable


def _rfc3339(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


#: A moment on the wire: RFC 3339 in UTC with microseconds.
UtcTime = Annotated[datetime, PlainSerializer(_rfc3339, return_type=str)]

#: Text that PostgreSQL can hold: no NUL, no lone surrogate.
StorableText = Annotated[str, AfterValidator(refuse_unstorable)]


class Schema(BaseModel):
    """Base of what the service sends."""

    model_config = ConfigDict(from_attributes=True)


class Body(BaseModel):
    """Base of what the service reads: an unknown member is an error, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
