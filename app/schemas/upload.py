"""Uploads on the wire: files that go straight to the store."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from app.schemas.base import STORABLE, Body, Integer, Schema, UtcTime

MAX_UPLOAD_BYTES = 5 * 2**30

#: RFC 9110, 8.3.1, with parameters; nothing that could end a header.
MediaType = Annotated[
    str,
    StringConstraints(max_length=127, pattern=r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+( ?; ?[A-Za-z0-9_.+-]+=[A-Za-z0-9_.+-]+)*$"),
]


class UploadCreate(Body):
    """A file that will be uploaded."""

    filename: Annotated[str, StringConstraints(min_length=1, max_length=255), STORABLE] = Field(examples=["flights.csv"])
    content_type: MediaType = Field(examples=["text/csv"])
    size: Integer = Field(ge=1, le=MAX_UPLOAD_BYTES, description="In bytes.", examples=[1048576])
    checksum_sha256: str = Field(
        pattern=r"^[0-9a-fA-F]{64}$",
        description="SHA-256 of the content, in hexadecimal.",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    )


class UploadRequest(Schema):
    """The request that puts the file into the store. Size, type and checksum are bound in: anything else is refused there."""

    method: Literal["PUT"] = "PUT"
    url: str = Field(description="Where to send it.")
    headers: dict[str, str] = Field(description="What to send with it, each exactly as it is here.")
    expires_at: UtcTime = Field(description="Until when it may begin.")


class Upload(Schema):
    """A file announced, and how to send it."""

    id: UUID = Field(description="The `upload_id` of the import.")
    upload: UploadRequest
