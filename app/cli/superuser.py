"""``create-superuser``: makes an account that may do everything."""

import asyncio
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from app.core.config import Settings, get_settings
from app.core.database import Database
from app.schemas.user import UserCreate
from app.services.users import ensure_superuser


def create_superuser(
    email: Annotated[str, typer.Option(envvar="FIRST_SUPERUSER_EMAIL", prompt=True, help="Address to sign in with.")],
    password: Annotated[
        str,
        typer.Option(
            envvar="FIRST_SUPERUSER_PASSWORD", prompt=True, hide_input=True, confirmation_prompt=True, help="At least 8 characters."
        ),
    ],
) -> None:
    """Make a superuser; an account that has the address becomes one and gets the password."""
    console = Console(stderr=True)
    try:
        account = UserCreate(email=email, password=password)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_context=False, include_input=False):
            console.print(f"[red]{fault['loc'][0]}: {fault['msg']}[/]")
        raise typer.Exit(1) from None
    user_id = asyncio.run(_make(get_settings(), account))
    console.print(f"[green]User {user_id} is a superuser.[/]")


async def _make(settings: Settings, account: UserCreate) -> int:
    database = Database(settings, "command line")
    try:
        async with database.write() as session:
            return await ensure_superuser(session, account.email, account.password)
    finally:
        await database.close()
