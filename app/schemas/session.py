"""Sessions on the wire."""

from uuid import UUID

from pydantic import Field

from app.schemas.base import Schema, UtcTime


class Session(Schema):
    """A sign-in that stands."""

    id: UUID
    user_agent: str | None = Field(description="The client as it named itself when it last got a token.")
    address: str | None = Field(description="Where it last got a token from.", examples=["203.0.113.7"])
    created_at: UtcTime
    last_used_at: UtcTime = Field(description="When it last got a token.")
    expires_at: UtcTime = Field(description="When it ends unless it gets another token before.")
    is_current: bool = Field(description="Whether this request belongs to it.")
