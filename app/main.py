"""The one place where everything is wired."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.api import openapi
from app.api.routes import auth, events, health, imports, items, jobs, live, pages, users
from app.core.config import Settings, get_settings
from app.core.drain import Drain
from app.core.http import dispatch, problems
from app.core.observing import observed
from app.core.resources import open_resources
from app.services.auth import watching_sessions
from app.services.events import live_events
from app.services.storage import open_storage


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application.

    Args:
        settings: Settings to use instead of the environment's.
    """
    settings = settings or get_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with (
            open_resources(settings) as resources,
            watching_sessions(resources) as (principals, revocations),
            live_events(resources, revocations, app.state.drain) as hub,
            open_storage(settings) as app.state.storage,
        ):
            app.state.hub = hub
            app.state.resources, app.state.principals, app.state.revocations = resources, principals, revocations
            dispatcher.start(resources.limits, principals)
            with observed(settings, "api", resources.database):
                yield

    app = FastAPI(
        title=settings.PROJECT_NAME,
        version=settings.VERSION,
        redirect_slashes=False,  # the dispatcher does, without naming scheme and host, which a proxy may have changed
        openapi_url=None,  # `pages` serves it, with the two pages that show it
        generate_unique_id_function=openapi.operation_id,
        lifespan=lifespan,
    )
    app.state.drain = Drain()
    app.include_router(health.router)
    app.include_router(pages.router)
    if settings.ENVIRONMENT == "local":
        app.include_router(live.router)
    import_bytes = settings.IMPORT_MAX_BODY_BYTES + imports.MULTIPART_OVERHEAD_BYTES
    app.include_router(imports.router, prefix=settings.API_V1_STR, max_body_size=import_bytes)
    for router in (pages.api_router, auth.router, users.router, items.router, jobs.router, events.router):
        app.include_router(router, prefix=settings.API_V1_STR)
    openapi.install(app, settings)
    problems.install(app)
    dispatcher = dispatch.install(app, settings)
    return app
