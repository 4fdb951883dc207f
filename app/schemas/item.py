"""Items on the wire."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import Query
from pydantic import AfterValidator, Field, JsonValue, StringConstraints, field_validator

from app.core.document import Document, encode_document
from app.schemas.base import LEFT_OUT, STORABLE, Body, Moment, Parameters, Schema

TITLE_MAX_LENGTH: Final = 200
DESCRIPTION_MAX_LENGTH: Final = 10_000


def _storable_document(document: Document) -> Document:
    encode_document(document)
    return document


Title = Annotated[
    str,
    StringConstraints(min_length=1, max_length=TITLE_MAX_LENGTH),
    STORABLE,
    Field(description="A short name.", examples=["Invoice 2031"]),
]
Description = Annotated[str, StringConstraints(max_length=DESCRIPTION_MAX_LENGTH), STORABLE, Field(description="A longer text.")]
Attributes = Annotated[
    dict[str, JsonValue],
    Field(description="Any JSON object, at most 16 KiB as compact UTF-8.", examples=[{"colour": "red", "weight": 3}]),
]


class ItemCreate(Body):
    """An item to make."""

    title: Title
    description: Description | None = None
    attributes: Annotated[Attributes, AfterValidator(_storable_document)] = Field(default_factory=dict)


class ItemPatch(Body):
    """A change as a JSON merge patch (RFC 7396): absent members stay, `null` clears."""

    title: Title | None = LEFT_OUT
    description: Description | None = None
    attributes: Attributes | None = Field(default=None, description="Merged member by member; `null` empties it.")

    @field_validator("title")
    @classmethod
    def _title_stays(cls, title: str | None) -> str:
        if title is None:
            raise ValueError("must not be null; leave it out to keep it")
        return title


class Item(Schema):
    """An item."""

    id: int = Field(examples=[42])
    owner_id: int = Field(examples=[7])
    title: str
    description: str | None
    attributes: dict[str, Any]
    version: int = Field(description="Counts the changes; also the ETag.", examples=[1])
    created_at: datetime
    updated_at: datetime


class ItemSort(StrEnum):
    """Orders of a listing; a leading minus means descending."""

    CREATED_AT = "created_at"
    CREATED_AT_DESC = "-created_at"
    UPDATED_AT = "updated_at"
    UPDATED_AT_DESC = "-updated_at"
    TITLE = "title"
    TITLE_DESC = "-title"


class ItemFilters(Parameters):
    """Which items are meant. The query parameters of `GET /items`, and the `filters` of an export."""

    owner_id: int | None = Field(default=None, ge=1, le=2**63 - 1, description="Whose items; superusers may ask for anybody's.")
    q: Annotated[str, StringConstraints(min_length=1, max_length=200), STORABLE] | None = Field(
        default=None, description="Words to find in title and description; quotes and minus as in a web search."
    )
    attributes: str | None = Field(
        default=None, max_length=4096, description="A JSON object that the item's attributes contain.", examples=['{"colour":"red"}']
    )
    created_after: Moment | None = Field(default=None, description="Made after this moment.")
    created_before: Moment | None = Field(default=None, description="Made before this moment.")


class ItemQuery(ItemFilters):
    """The question a listing answers."""

    sort: ItemSort = ItemSort.CREATED_AT_DESC
    limit: int = Field(default=50, ge=1, le=100, description="Items on a page.")
    cursor: str | None = Field(default=None, max_length=1024, description="From a `Link` header of an earlier page.")
    skip: int = Field(default=0, ge=0, le=10_000, description="Items to pass over; a cursor is faster and steadier.")


ItemQueryParameters = Annotated[ItemQuery, Query()]
