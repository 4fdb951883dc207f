"""Signing in and staying signed in: HTTP and nothing else."""

from contextlib import suppress
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from app.api.deps import Autocommit, Client, CurrentUser, Guard, Resources, Revocations, Settings
from app.api.openapi import responses
from app.core.errors import NotFound
from app.core.http.body import require_media_type
from app.core.http.route import Route
from app.schemas.session import Session
from app.schemas.token import PasswordGrant, RefreshGrant, Token
from app.services import auth
from app.services.auth import InvalidCredentials, InvalidGrant, RefreshReused, UnsupportedGrantType

router = APIRouter(prefix="/auth", tags=["auth"], route_class=Route)

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
#: JSON alone: of one body in two content types, generators make clients that do not work.
REFRESH_BODY: Final[dict[str, Any]] = {"requestBody": {"required": True, "content": {JSON: {"schema": RefreshGrant.model_json_schema()}}}}


@router.post("/login", responses=responses(UnsupportedGrantType, InvalidCredentials))
async def login(grant: Annotated[PasswordGrant, Form()], db: Autocommit, settings: Settings, guard: Guard) -> Token:
    """Sign in with e-mail address and password (OAuth 2.0 password grant)."""
    return await auth.login(db, settings, guard, grant)


async def refresh_grant(request: Request) -> RefreshGrant:
    """Read a refresh grant from JSON or from a form, as OAuth 2.0 libraries send it."""
    require_media_type(request, JSON, FORM)
    if request.headers.get("content-type", "").lower().startswith(FORM):
        form = await request.form()
        # A form's members that are not ours are ignored (RFC 6749, 3.2).
        given: Any = {name: form[name] for name in RefreshGrant.model_fields if name in form}
    else:
        given = await request.json() if await request.body() else {}
    try:
        return RefreshGrant.model_validate(given)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in faults]) from error


@router.post("/refresh", openapi_extra=REFRESH_BODY, responses=responses(UnsupportedGrantType, InvalidGrant, RefreshReused))
async def refresh(
    grant: Annotated[RefreshGrant, Depends(refresh_grant)], held: Resources, revocations: Revocations, client: Client
) -> Token:
    """Exchange a refresh token for the next pair; the one presented is used up.

    The form of OAuth 2.0 (`application/x-www-form-urlencoded` with `grant_type=refresh_token`) is taken as well as JSON.
    """
    async with held.database.write() as db:
        token = await auth.refresh(db, held.settings, revocations, grant, client)
    if token is None:  # the end of the session had to be committed before
        raise RefreshReused
    return token


@router.post("/logout", status_code=204)
async def logout(user: CurrentUser, db: Autocommit, revocations: Revocations) -> Response:
    """End this session."""
    with suppress(NotFound):  # another request ended it a moment before
        await auth.end_session(db, revocations, user, user.session_id)
    return Response(status_code=204)


@router.get("/sessions")
async def list_sessions(user: CurrentUser, db: Autocommit) -> list[Session]:
    """List one's sessions, the last used first."""
    return await auth.list_sessions(db, user)


@router.delete("/sessions", status_code=204)
async def end_other_sessions(user: CurrentUser, db: Autocommit, revocations: Revocations) -> Response:
    """End all of one's sessions but this one."""
    await auth.end_other_sessions(db, revocations, user)
    return Response(status_code=204)


@router.delete("/sessions/{session_id}", status_code=204, responses=responses(NotFound))
async def end_session(session_id: UUID, user: CurrentUser, db: Autocommit, revocations: Revocations) -> Response:
    """End one of one's sessions."""
    await auth.end_session(db, revocations, user, session_id)
    return Response(status_code=204)
