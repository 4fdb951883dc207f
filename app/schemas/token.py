"""Tokens on the wire, as OAuth 2.0 names them (RFC 6749)."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.core.passwords import MAX_PASSWORD_LENGTH
from app.schemas.base import STORABLE, Body, Schema


class Token(Schema):
    """An access token and the refresh token that gets the next one (RFC 6749, 5.1)."""

    access_token: str = Field(description="A JWT, sent as `Authorization: Bearer <token>`.")
    refresh_token: str = Field(description="Opaque; good for one use at `/auth/refresh`.")
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  # a type, not a token
    expires_in: int = Field(description="Seconds until the access token ends.", examples=[900])


class PasswordGrant(BaseModel):
    """The form of a sign-in (RFC 6749, 4.3.2). Members it does not name are ignored, as the standard wants it."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    grant_type: str = Field(default="password", max_length=100, description="`password`.", json_schema_extra={"const": "password"})
    username: Annotated[str, StringConstraints(min_length=1, max_length=320), STORABLE] = Field(description="The e-mail address.")
    password: Annotated[str, StringConstraints(min_length=1, max_length=MAX_PASSWORD_LENGTH), STORABLE] = Field(
        json_schema_extra={"format": "password"}
    )


class RefreshGrant(Body):
    """A refresh token and the wish for the next pair (RFC 6749, 6)."""

    grant_type: str = Field(
        default="refresh_token", max_length=100, description="`refresh_token`.", json_schema_extra={"const": "refresh_token"}
    )
    refresh_token: str = Field(min_length=1, max_length=512)
