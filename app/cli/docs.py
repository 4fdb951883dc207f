"""``settings`` and ``docs``: the reference, from the code."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.reference import PAGES, settings_page, words
from app.core.config import get_settings
from app.main import create_app

__all__ = ["docs", "settings"]

#: Loaded so that every module's errors are in the catalogue.
_APPLICATION = create_app
REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def settings(*, check: Annotated[bool, typer.Option(help="Only say whether the settings at hand hold.")] = False) -> None:
    """Print the table of settings as Markdown."""
    if check:
        get_settings()
        typer.echo("The settings hold.")
        return
    typer.echo(words(settings_page()), nl=False)


def docs(*, check: Annotated[bool, typer.Option(help="Only say whether the pages are up to date.")] = False) -> None:
    """Write the generated pages of the reference into docs/reference."""
    stale = [
        name for name, make in PAGES.items() if not (REFERENCE / name).exists() or (REFERENCE / name).read_text(encoding="utf-8") != make()
    ]
    if check:
        if stale:
            typer.echo(f"Stale: {', '.join(stale)}; run `make docs`.", err=True)
        raise typer.Exit(int(bool(stale)))
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (REFERENCE / name).write_text(PAGES[name](), encoding="utf-8")
        typer.echo(f"wrote docs/reference/{name}")
