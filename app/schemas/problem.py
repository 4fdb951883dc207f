"""Errors on the wire (RFC 9457)."""

from pydantic import ConfigDict, Field

from app.schemas.base import Schema


class FieldFault(Schema):
    """One fault of a request."""

    pointer: str = Field(
        description="JSON pointer (RFC 6901) into the body; `/<name>` for a parameter; empty for the body as a whole.", examples=["/title"]
    )
    detail: str = Field(description="What is wrong with it.", examples=["String should have at most 200 characters"])


class ProblemDetails(Schema):
    """What went wrong and what to do about it."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="URI of the page that explains this kind of problem.", examples=["/errors/validation-failed"])
    title: str = Field(description="The kind of problem, the same every time.", examples=["Validation failed"])
    status: int = Field(description="The answer's status code.", examples=[422])
    detail: str = Field(description="What happened this time.", examples=["A value breaks a rule; `errors` lists each."])
    instance: str = Field(description="Path of the request.", examples=["/api/v1/items/"])
    request_id: str = Field(description="Id of the request, also in `X-Request-ID`; name it when you report the problem.")
    errors: list[FieldFault] = Field(default=[], description="Faults of single fields; absent where there is none.")
