"""What the stack says of itself: ``stack.json`` for programs, a table for people."""

import io
import os
from collections.abc import Mapping
from typing import Any

from rich.console import Console as Rich
from rich.table import Table

from app.local.part import Part
from app.local.plan import Plan

PLAIN_WIDTH = 160


def describe(plan: Plan, addresses: Mapping[str, Any], parts: Mapping[str, Part]) -> dict[str, Any]:
    """Return the content of ``stack.json``.

    Args:
        plan: what was started.
        addresses: where the service finds its servers, as its settings have it.
        parts: what runs.
    """
    pids = {name: part.working_pids if part.works_in_children else part.pid for name, part in parts.items()}
    metrics = {name: f"http://{plan.api_host}:{port}/metrics" for name, port in plan.metrics_ports.items()}
    return {
        "api_url": plan.api_url,
        "docs_url": f"{plan.api_url}/docs",
        "live_url": f"{plan.api_url}/live",
        "metrics_url": metrics["api"],
        "worker_metrics_urls": {name: url for name, url in metrics.items() if name != "api"},
        "mail_url": plan.mail.url if plan.mail else None,
        **addresses,
        "superuser": {
            "email": plan.settings.get("FIRST_SUPERUSER_EMAIL"),
            "password": plan.settings.get("FIRST_SUPERUSER_PASSWORD"),
        },
        "local_dir": str(plan.place.folder),
        "pids": {"supervisor": os.getpid(), **pids},
    }


def render(description: Mapping[str, Any], *, colours: bool) -> str:
    """Return a table that says where everything is."""
    superuser = description["superuser"]
    rows = {
        "API": description["api_url"],
        "Documentation": f"{description['docs_url']}   {description['api_url']}/redoc",
        "Live events": description["live_url"],
        "Mailbox": description["mail_url"] or "your own mail server",
        "Metrics": "   ".join([description["metrics_url"], *description["worker_metrics_urls"].values()]),
        "Superuser": f"{superuser['email']}   password {superuser['password']}",
        "PostgreSQL": description["database_url"],
        "  as the owner": description["migration_database_url"],
        "Valkey": description["redis_url"],
        "S3": description["s3_endpoint_url"] or "AWS",
        "Data and log": description["local_dir"],
    }
    table = Table.grid(padding=(0, 3))
    for name, value in rows.items():
        table.add_row(f"[bold]{name}[/]" if colours else name, value)
    buffer = io.StringIO()
    Rich(file=buffer, force_terminal=colours, width=PLAIN_WIDTH, highlight=False).print(table)
    return "".join(f"  {line.rstrip()}\n" for line in buffer.getvalue().splitlines())
