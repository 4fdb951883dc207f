"""Accounts on the wire."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import AfterValidator, EmailStr, Field, StringConstraints, field_validator

from app.core.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH, check_password
from app.schemas.base import LEFT_OUT, STORABLE, Body, Parameters, Schema, never_null

Email = Annotated[EmailStr, Field(max_length=254, examples=["ada@example.com"])]
CurrentPassword = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_PASSWORD_LENGTH), STORABLE, Field(json_schema_extra={"format": "password"})
]
NewPassword = Annotated[
    str,
    StringConstraints(min_length=MIN_PASSWORD_LENGTH, max_length=MAX_PASSWORD_LENGTH),
    STORABLE,
    AfterValidator(check_password),
    Field(description="None of the most common passwords.", json_schema_extra={"format": "password"}),
]


class PatchBody(Body):
    """Base of changes: what is left out stays, and nothing can be null."""

    @field_validator("*")
    @classmethod
    def _no_nulls(cls, value: object) -> object:
        if value is None:
            raise ValueError("must not be null; leave it out to keep it")
        return value


def _without_default(schema: dict[str, Any]) -> None:
    """Keep generated clients from sending what is not theirs to set: they fill in defaults by themselves."""
    del schema["default"]


class UserCreate(Body):
    """An account to make."""

    email: Email
    password: NewPassword
    is_active: bool = Field(default=True, description="Only a superuser makes an account that may not sign in yet.")
    is_superuser: bool = Field(default=False, description="Only a superuser may set it.", json_schema_extra=_without_default)


class UserPatchMe(PatchBody):
    """A change of one's own account."""

    email: Email | None = LEFT_OUT


class UserPatch(PatchBody):
    """A change of an account by a superuser."""

    email: Email | None = LEFT_OUT
    is_active: bool | None = Field(
        default=None, description="An account that is not active cannot sign in; its sessions end.", json_schema_extra=never_null
    )
    is_superuser: bool | None = LEFT_OUT


class PasswordChange(Body):
    """A new password, and the present one as the proof."""

    current_password: CurrentPassword
    new_password: NewPassword


class User(Schema):
    """An account."""

    id: int = Field(examples=[7])
    email: str = Field(examples=["ada@example.com"])
    is_active: bool
    is_superuser: bool
    created_at: datetime
    updated_at: datetime


class UserQuery(Parameters):
    """The page of a listing of accounts, in the order of their ids."""

    limit: int = Field(default=50, ge=1, le=100, description="Accounts on a page.")
    cursor: str | None = Field(default=None, max_length=1024, description="From a `Link` header of an earlier page.")
    skip: int = Field(default=0, ge=0, le=10_000, description="Accounts to pass over; a cursor is faster and steadier.")


UserQueryParameters = Annotated[UserQuery, Query()]
