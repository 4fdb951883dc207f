"""What a route may ask for. The alias in a signature is the rule: who may call it and what it may touch."""

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import Depends, Request

from app.core import autocommit, database
from app.core.config import Settings as SettingsModel
from app.core.errors import Forbidden
from app.core.http import idempotency
from app.core.http.idempotency import IdempotencyKey
from app.core.resources import Resources as ResourcesModel
from app.core.security import Principal


async def resources(request: Request) -> ResourcesModel:
    """Return what the process holds open."""
    found: ResourcesModel = request.app.state.resources
    return found


Resources = Annotated[ResourcesModel, Depends(resources)]


async def settings(held: Resources) -> SettingsModel:
    """Return the process's settings."""
    return held.settings


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


async def current_user(request: Request) -> Principal:
    """Return whom the access token speaks for; raises ``Unauthorized`` where it does not hold."""
    raise NotImplementedError


CurrentUser = Annotated[Principal, Depends(current_user)]


async def superuser(user: CurrentUser) -> Principal:
    """Return the caller if it is a superuser; raises ``Forbidden`` otherwise."""
    if not user.is_superuser:
        raise Forbidden
    return user


Superuser = Annotated[Principal, Depends(superuser)]


async def writer(request: Request, held: Resources, user: CurrentUser, key: IdempotencyKey = None) -> autocommit.Runner:
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


#: For routes that create something, by one statement and by several. Both honour the Idempotency-Key.
Writer = Annotated[autocommit.Runner, Depends(writer)]
WriterSession = Annotated[database.WriteSession, Depends(writer_session, scope="function")]
