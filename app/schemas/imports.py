"""Imports on the wire."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from app.schemas.base import Body

ImportFormat = Literal["csv", "ndjson"]


class ImportFromUpload(Body):
    """An import of a file that was uploaded."""

    upload_id: UUID = Field(strict=False, description="From `POST /items/imports/uploads`.")
    format: ImportFormat
