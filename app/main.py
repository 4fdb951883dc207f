"""The one place where everything is wired."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.api.routes import auth, items, users
from app.core.config import Settings, get_settings
from app.core.http import dispatch, problems
from app.core.resources import open_resources
from app.services.auth import watching_sessions


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application.

    Args:
        settings: Settings to use instead of the environment's.
    """
    settings = settings or get_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with open_resources(settings) as resources, watching_sessions(resources) as (principals, revocations):
            app.state.resources, app.state.principals, app.state.revocations = resources, principals, revocations
            dispatcher.limits, dispatcher.principals = resources.limits, principals
            yield

    app = FastAPI(
        title=settings.PROJECT_NAME,
        version=settings.VERSION,
        openapi_url=f"{settings.API_V1_STR}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )

    @app.get("/", tags=["service"])
    async def root() -> dict[str, str]:
        """Say that the API is running."""
        return {"message": "API is running"}

    for routes in (auth, users, items):
        app.include_router(routes.router, prefix=settings.API_V1_STR)
    problems.install(app)
    dispatcher = dispatch.install(app, settings)
    return app
