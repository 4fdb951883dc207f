"""The one place where everything is wired."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.api.routes import items
from app.core.config import Settings, get_settings
from app.core.http import dispatch, problems
from app.core.http.limits import Limits
from app.core.resources import open_resources


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application.

    Args:
        settings: Settings to use instead of the environment's.
    """
    settings = settings or get_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with open_resources(settings) as resources:
            app.state.resources = resources
            dispatcher.limits = app.state.limits = Limits(resources.redis)
            yield
            await dispatcher.limits.close()

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

    app.include_router(items.router, prefix=settings.API_V1_STR)
    problems.install(app)
    dispatcher = dispatch.install(app, settings)
    return app
