"""Live events, as far as they go over HTTP."""

from pydantic import Field

from app.schemas.base import Schema


class Ticket(Schema):
    """What opens one live-event socket."""

    ticket: str = Field(
        description="Send it as `?ticket=` of `GET /api/v1/ws`, once.", examples=["SYRTyWnWDPLBqTCWVQT4Ar2kPGOjAZCThmcCMgaRbb0"]
    )
    expires_in: int = Field(description="Seconds within which it must be used.", examples=[30])
