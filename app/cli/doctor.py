"""``doctor``: checks the settings and the live dependencies, and says what to do."""

import asyncio
from typing import Annotated, Final

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.cli.checks.machine import check_machine
from app.cli.checks.postgres import check_postgres
from app.cli.checks.redis import check_redis
from app.cli.checks.result import Result
from app.cli.checks.s3 import check_s3
from app.cli.checks.smtp import check_smtp
from app.core.config import Settings
from app.core.scrub import scrub_text
from app.core.settings_checks import InvalidSettings

STYLES: Final = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "failed": "[bold red]failed[/]"}
TIMEOUT_SECONDS: Final = 30.0
REMEDY_WIDTH: Final = 120


def doctor(*, json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Check the settings and every live dependency; exit with 1 if something would not work."""
    results = [result._replace(detail=scrub_text(result.detail)) for result in examine()]
    if json:
        typer.echo(orjson.dumps([result._asdict() for result in results], option=orjson.OPT_INDENT_2))
    else:
        _print(results)
    raise typer.Exit(int(any(result.state == "failed" for result in results)))


def examine() -> list[Result]:
    """Return every finding; where the settings do not hold, theirs alone."""
    try:
        settings = Settings()  # pyright: ignore[reportCallIssue]  # required fields come from the environment
    except InvalidSettings as error:
        return [Result("Settings", problem.partition(":")[0], "failed", problem.partition(": ")[2]) for problem in error.problems]
    found = [Result("Settings", "all", "ok", f"{len(Settings.model_fields)} read for {settings.ENVIRONMENT}"), *check_machine(settings)]
    return found + asyncio.run(_ask(settings))


async def _ask(settings: Settings) -> list[Result]:
    checks = {"PostgreSQL": check_postgres, "Redis": check_redis, "S3": check_s3, "SMTP": check_smtp}

    async def bounded(part: str) -> list[Result]:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await checks[part](settings)
        except TimeoutError:
            return [
                Result(
                    part,
                    "answers",
                    "failed",
                    f"no answer within {TIMEOUT_SECONDS:.0f} s",
                    "See whether it hangs, or a firewall swallows packets.",
                )
            ]

    return [result for results in await asyncio.gather(*map(bounded, checks)) for result in results]


def _print(results: list[Result]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("part", "check", "state", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for result in results:
        table.add_row(result.part, result.check, STYLES[result.state], escape(result.detail), escape(result.remedy))
    console = Console()
    console.print(table)
    failed = sum(result.state == "failed" for result in results)
    console.print(f"[bold red]{failed} failed[/]" if failed else "[green]Everything the service needs is there.[/]")
