"""Accounts: HTTP and nothing else."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from app.api.deps import (
    Autocommit,
    CurrentUser,
    Guard,
    PossibleUser,
    PublicWriterSession,
    Revocations,
    Settings,
    Superuser,
    WriteSession,
    current_user,
)
from app.api.openapi import responses
from app.api.pagination import links
from app.core.encoding import RowEncoder
from app.core.errors import Conflict, Forbidden, NotFound
from app.core.http.compile import JSONBytes
from app.core.http.route import Route
from app.crud.user import COLUMNS
from app.schemas.user import PasswordChange, User, UserCreate, UserPatch, UserPatchMe, UserQueryParameters
from app.services import users
from app.services.users import ID, EmailTaken, WrongPassword

router = APIRouter(prefix="/users", tags=["users"], route_class=Route)

UserId = Annotated[int, Path(ge=1, le=2**63 - 1, examples=[7])]

encoder = RowEncoder(User, COLUMNS)


@router.post(
    "/",
    response_model=User,
    status_code=201,
    responses=responses(Forbidden, EmailTaken, headers={201: ["Location"]}),
    openapi_extra={"security": [{}, {current_user.scheme_name: []}]},
)
async def register(data: UserCreate, db: PublicWriterSession, guard: Guard, caller: PossibleUser, settings: Settings) -> Response:
    """Make an account; nobody needs to be signed in. A welcome e-mail follows."""
    row = await users.register(db, guard, data, caller)
    return JSONBytes(encoder.one(row), 201, [(b"location", f"{settings.API_V1_STR}/users/{row[ID]}".encode())])


@router.get("/", response_model=list[User], responses=responses(Forbidden, headers={200: ["Link"]}))
async def list_users(request: Request, query: UserQueryParameters, _: Superuser, db: Autocommit, settings: Settings) -> Response:
    """List all accounts in the order of their ids, a page at a time (superusers)."""
    page = await users.search(db, query, settings.verification_keys)
    return JSONBytes(encoder.many(page.rows), headers=links(request, page.next_cursor, page.prev_cursor))


@router.get("/me", response_model=User, responses=responses(NotFound))
async def read_me(user: CurrentUser, db: Autocommit) -> Response:
    """Read one's own account."""
    return JSONBytes(encoder.one(await users.get(db, user, user.user_id)))


@router.patch("/me", response_model=User, responses=responses(NotFound, EmailTaken))
async def change_me(patch: UserPatchMe, user: CurrentUser, db: WriteSession, guard: Guard) -> Response:
    """Change one's own account."""
    return JSONBytes(encoder.one(await users.change_own(db, guard, user, patch)))


@router.delete("/me", status_code=204, responses=responses(NotFound))
async def delete_me(user: CurrentUser, db: WriteSession, revocations: Revocations) -> Response:
    """Delete one's own account. Its sessions end at once; what it owns goes after a grace period."""
    await users.remove(db, revocations, user.user_id)
    return Response(status_code=204)


@router.post("/me/password", status_code=204, responses=responses(WrongPassword, Conflict))
async def change_password(
    data: PasswordChange, user: CurrentUser, db: WriteSession, reads: Autocommit, guard: Guard, revocations: Revocations
) -> Response:
    """Change one's password. All other sessions end."""
    await users.change_password(db, reads, guard, revocations, user, data)
    return Response(status_code=204)


@router.get("/{user_id}", response_model=User, responses=responses(NotFound))
async def read_user(user_id: UserId, user: CurrentUser, db: Autocommit) -> Response:
    """Read an account: one's own, or any for superusers."""
    return JSONBytes(encoder.one(await users.get(db, user, user_id)))


@router.patch("/{user_id}", response_model=User, responses=responses(Forbidden, NotFound, EmailTaken))
async def change_user(user_id: UserId, patch: UserPatch, _: Superuser, db: WriteSession, revocations: Revocations) -> Response:
    """Change an account (superusers)."""
    return JSONBytes(encoder.one(await users.change(db, revocations, user_id, patch)))


@router.delete("/{user_id}", status_code=204, responses=responses(Forbidden, NotFound))
async def delete_user(user_id: UserId, _: Superuser, db: WriteSession, revocations: Revocations) -> Response:
    """Delete an account (superusers). Its sessions end at once; what it owns goes after a grace period."""
    await users.remove(db, revocations, user_id)
    return Response(status_code=204)
