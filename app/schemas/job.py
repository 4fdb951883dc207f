"""Jobs on the wire."""

from typing import Annotated, Literal

from fastapi import Query
from pydantic import Field

from app.schemas.base import Parameters, Schema, UtcTime

JobState = Literal["queued", "running", "finished", "failed", "cancelled"]


class JobCounts(Schema):
    """How many rows there were and what became of them."""

    total: int | None = Field(description="Rows of the file; null until the last one was read.", examples=[336776])
    created: int = Field(description="Items made.", examples=[336770])
    failed: int = Field(description="Rows that were refused.", examples=[6])


class JobError(Schema):
    """What is wrong with a row."""

    row: int = Field(description="1 is the first data row; 0 stands for the file as a whole.", examples=[17])
    pointer: str = Field(description="JSON pointer to the value within the row; empty for the row itself.", examples=["/title"])
    detail: str = Field(examples=["Line 18: must have 1 to 200 characters, not 0."])


class Job(Schema):
    """Long work and how far it is."""

    id: int = Field(examples=[12])
    kind: str = Field(examples=["import"])
    state: JobState
    progress: int = Field(description="Rows processed; never falls.", examples=[336776])
    counts: JobCounts
    errors: list[JobError] = Field(description="The first 100 faults.")
    result_url: str | None = Field(description="Where the job's file is, if it makes one.")
    created_at: UtcTime
    updated_at: UtcTime


class JobQuery(Parameters):
    """Which jobs to list."""

    limit: int = Field(default=50, ge=1, le=100, description="Jobs on a page.")
    cursor: str | None = Field(default=None, max_length=1024, description="From a `Link` header of an earlier page.")


JobQueryParameters = Annotated[JobQuery, Query()]
