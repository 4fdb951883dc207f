"""Bring the database up to date before the service starts: ``python -m app.local.prepare``.

A process of its own, so that it runs beside what the supervisor does and sees the code as it is now.
Prints what the settings say as one line of JSON.
"""

import asyncio
import json
import sys

from alembic import command
from alembic.config import Config

from app.core.config import Settings
from app.core.database import Database
from app.core.settings_checks import InvalidSettings
from app.local.errors import INVALID_SETTINGS
from app.local.place import REPOSITORY
from app.services.users import ensure_superuser


def migrate() -> None:
    """Migrate to the newest revision."""
    command.upgrade(Config(toml_file=REPOSITORY / "pyproject.toml"), "head")


async def seed(settings: Settings) -> None:
    """Make sure that the first superuser exists and has its password."""
    if settings.FIRST_SUPERUSER_EMAIL is None or settings.FIRST_SUPERUSER_PASSWORD is None:
        return
    database = Database(settings, "seed")
    try:
        async with database.write() as session:
            await ensure_superuser(session, settings.FIRST_SUPERUSER_EMAIL, settings.FIRST_SUPERUSER_PASSWORD.get_secret_value())
    finally:
        await database.close()


def addresses(settings: Settings) -> dict[str, str | list[str] | None]:
    """Return what ``stack.json`` says of the settings."""
    return {
        "database_url": str(settings.DATABASE_URL),
        "migration_database_url": str(settings.MIGRATION_DATABASE_URL or settings.DATABASE_URL),
        "redis_url": str(settings.REDIS_URL),
        "s3_endpoint_url": settings.S3_ENDPOINT_URL,
        "allowed_origins": settings.ALLOWED_ORIGINS,
    }


def main() -> int:
    """Check the settings, migrate, seed."""
    try:
        settings = Settings()  # pyright: ignore[reportCallIssue]  # required fields come from the environment
    except InvalidSettings as error:
        sys.stderr.write(f"{error}\n")
        return INVALID_SETTINGS
    migrate()
    asyncio.run(seed(settings))
    sys.stdout.write(json.dumps(addresses(settings)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
