"""What a route may ask for. The alias in a signature is the rule: who may call it and what it may touch."""

from collections.abc import AsyncGenerator
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.openapi.models import OAuth2, OAuthFlowPassword, OAuthFlows
from fastapi.security.base import SecurityBase

from app.core import autocommit, context, database
from app.core.config import Settings as SettingsModel
from app.core.errors import Forbidden, Unauthorized
from app.core.http import idempotency
from app.core.http.compile import process_wide
from app.core.http.dispatch import PRINCIPAL
from app.core.http.idempotency import IdempotencyKey
from app.core.principals import Principals as PrincipalsModel
from app.core.resources import Resources as ResourcesModel
from app.core.revocations import Revocations as RevocationsModel
from app.core.security import Principal
from app.core.statement import Runner
from app.services import auth
from app.services import storage as storages

MAX_USER_AGENT_CHARS: Final = 512


@process_wide
async def resources(request: Request) -> ResourcesModel:
    """Return what the process holds open."""
    found: ResourcesModel = request.app.state.resources
    return found


Resources = Annotated[ResourcesModel, Depends(resources)]


@process_wide
async def settings(held: Resources) -> SettingsModel:
    """Return the process's settings."""
    return held.settings


@process_wide
async def single_statements(held: Resources) -> autocommit.Autocommit:
    """Return the way to run one statement in one round trip."""
    return held.database.autocommit


async def read_session(held: Resources) -> AsyncGenerator[database.ReadSession]:
    """Open a read-only transaction for the request."""
    async with held.database.read() as session:
        yield session


async def write_session(held: Resources) -> AsyncGenerator[database.WriteSession]:
    """Open the request's transaction; it is committed after the route returned and before the answer leaves."""
    async with held.database.write() as session:
        yield session


Settings = Annotated[SettingsModel, Depends(settings)]
Autocommit = Annotated[autocommit.Autocommit, Depends(single_statements)]
ReadSession = Annotated[database.ReadSession, Depends(read_session, scope="function")]
WriteSession = Annotated[database.WriteSession, Depends(write_session, scope="function")]


class BearerToken(SecurityBase):
    """Finds whom the access token of a request speaks for, and tells OpenAPI how clients get one.

    One dependency where FastAPI's ``OAuth2PasswordBearer`` would be two: a scheme that reads the header and a function
    that reads what it read.
    """

    scheme_name = "OAuth2PasswordBearer"
    model = OAuth2(
        flows=OAuthFlows(password=OAuthFlowPassword(tokenUrl="/api/v1/auth/login", refreshUrl="/api/v1/auth/refresh")),
        description="An access token of `/auth/login`, sent as `Authorization: Bearer <token>`.",
    )

    async def __call__(self, request: Request) -> Principal:
        """Return whom the access token speaks for.

        Raises:
            Unauthorized: if there is none, or it does not hold.
        """
        remembered: Principal | None = request.scope.get(PRINCIPAL)
        if remembered is not None:
            return remembered
        authorization = authorization_of(request)
        if authorization is None:
            raise Unauthorized
        principals: PrincipalsModel = request.app.state.principals
        principal = await principals.verify(authorization)
        context.user_id.set(principal.user_id)
        return principal


def authorization_of(request: Request) -> bytes | None:
    """Return the ``Authorization`` header as it came."""
    headers: list[tuple[bytes, bytes]] = request.scope["headers"]
    for name, value in headers:
        if name == b"authorization":
            return value
    return None


current_user = BearerToken()
CurrentUser = Annotated[Principal, Depends(current_user)]


async def possible_user(request: Request) -> Principal | None:
    """Return the caller where there is an access token; raises ``Unauthorized`` where that does not hold."""
    return None if authorization_of(request) is None else await current_user(request)


#: For what may be done by anybody, and differently by who is signed in.
PossibleUser = Annotated[Principal | None, Depends(possible_user)]


async def superuser(user: CurrentUser) -> Principal:
    """Return the caller if it is a superuser; raises ``Forbidden`` otherwise."""
    if not user.is_superuser:
        raise Forbidden
    return user


Superuser = Annotated[Principal, Depends(superuser)]


async def writer(request: Request, held: Resources, user: CurrentUser, key: IdempotencyKey = None) -> Runner:
    """Return where a user's single statement is run: by itself or, with an Idempotency-Key, in a transaction with its answer."""
    if key is None:
        return held.database.autocommit
    return await idempotency.begin(held.database, request, key, idempotency.caller_of(request, user.user_id))


async def writer_session(
    request: Request, held: Resources, user: CurrentUser, key: IdempotencyKey = None
) -> AsyncGenerator[database.WriteSession]:
    """Open the transaction of a user's several statements; with an Idempotency-Key it keeps the answer as well."""
    if key is not None:
        yield await idempotency.begin(held.database, request, key, idempotency.caller_of(request, user.user_id))
        return
    async with held.database.write() as session:
        yield session


async def public_writer_session(
    request: Request, held: Resources, user: PossibleUser, key: IdempotencyKey = None
) -> AsyncGenerator[database.WriteSession]:
    """Open the transaction of anybody's several statements; with an Idempotency-Key it keeps the answer as well."""
    if key is not None:
        yield await idempotency.begin(held.database, request, key, idempotency.caller_of(request, user.user_id if user else None))
        return
    async with held.database.write() as session:
        yield session


#: For routes that create something, by one statement and by several. Both honour the Idempotency-Key.
Writer = Annotated[Runner, Depends(writer)]
WriterSession = Annotated[database.WriteSession, Depends(writer_session, scope="function")]
PublicWriterSession = Annotated[database.WriteSession, Depends(public_writer_session, scope="function")]


@process_wide
async def revocations(request: Request) -> RevocationsModel:
    """Return what spreads revocations."""
    found: RevocationsModel = request.app.state.revocations
    return found


async def client(request: Request) -> auth.Client:
    """Return where a request comes from."""
    user_agent = request.headers.get("user-agent")
    return auth.Client(request.client.host if request.client else None, user_agent[:MAX_USER_AGENT_CHARS] if user_agent else None)


Revocations = Annotated[RevocationsModel, Depends(revocations)]
Client = Annotated[auth.Client, Depends(client)]


async def guard(held: Resources, client: Client) -> auth.Guard:
    """Return what stands between the client and somebody's password."""
    return auth.Guard(held.passwords, held.limits, client)


Guard = Annotated[auth.Guard, Depends(guard)]


@process_wide
async def storage(request: Request) -> storages.Storage:
    """Return the way to the object store."""
    found: storages.Storage = request.app.state.storage
    return found


Storage = Annotated[storages.Storage, Depends(storage)]
