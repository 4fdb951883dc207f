"""Write the pages and pictures that are made from the program: ``python -m infra.generate [--check]``.

`docs/reference/infrastructure.md` (configuration and outputs), `infrastructure-costs.md`, `infrastructure-growth.md`, and a picture of
each stage.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import yaml

from infra import config as config_module
from infra import growth_page
from infra.catalog import catalog
from infra.config import Part, StageConfig, load
from infra.costs import TRAFFIC, Line, estimate, nodes, total
from infra.field_texts import Texts, field_texts
from infra.picture import draw
from infra.program import deploy
from infra.registrations import Graph, record

ROOT: Final = Path(__file__).resolve().parents[1]
REFERENCE: Final = ROOT / "docs" / "reference"
STAGES: Final = ("dev", "staging", "prod")
MADE: Final = "Made by `python -m infra.generate`; do not edit."
FORMATS: Final = {"ipv4network": "network, such as `10.30.0.0/16`", "email": "mail address"}
#: Longer lists of choices are told in words.
MOST_CHOICES: Final = 8

COSTS: Final = (
    "without taxes, discounts and free tiers. Where AWS has tiers the first is taken, the dearest. Savings plans and reserved",
    "instances take about a third off nodes, database and caches. Prices change: enter the new ones with their date there, and",
    "make the page again.",
)
OUTPUTS: Final = {
    "helmValues": "Values of the chart for this stage, complete and without a secret: `pulumi stack output --json helmValues`.",
    "host": "Where clients reach the API.",
    "nameServers": "To be entered where the parent domain is kept, once.",
    "vpcId": "The VPC: the load balancer's controller is told it.",
    "clusterName": "`aws eks update-kubeconfig --name` wants it.",
    "clusterKeyArn": "Key of nodes' volumes, for Karpenter's EC2NodeClass.",
    "podSecurityGroupId": "Security group that databases and caches let in: Karpenter's nodes carry it, by their EC2NodeClass.",
    "nodeRole": "Role of the nodes that Karpenter starts, for its EC2NodeClass.",
    "karpenterQueue": "Queue of interruptions, for Karpenter's chart.",
    "databaseIdentifier": "The instance, for `aws rds`: failover, restore, upgrade.",
    "databaseAddress": "Where PostgreSQL listens, in the VPC.",
    "databaseAdministrator": "ARN of the entry with the administrator's password, which bootstrap alone needs.",
    "brokerGroup": "The broker's replication group, for `aws elasticache`.",
    "cacheGroup": "The cache's.",
    "repositoryUrl": "Where images are pushed.",
    "buildRoleArn": "Role of the workflow that builds.",
    "deployRoleArn": "Role of the workflow that deploys.",
}


@cache
def stage_config(stage: str) -> StageConfig:
    """Return the configuration of a stage, read on the day of the prices: a page must not change with the day it is made on."""
    text = (ROOT / "infra" / f"Pulumi.{stage}.yaml").read_text(encoding="utf-8")
    return load(yaml.safe_load(text)["config"]["fastapi-platform:stage"], catalog().prices_of)


@cache
def graph(stage: str) -> Graph:
    """Return what a stage registers."""
    return record(lambda: deploy(stage_config(stage)), stack=stage)


def configuration_page() -> str:
    """Return the page of the configuration and the outputs."""
    schema = StageConfig.model_json_schema(by_alias=True)
    lines = [
        "# Configuration of the infrastructure",
        "",
        MADE,
        "",
        "`infra/Pulumi.<stage>.yaml` holds one object, `fastapi-platform:stage`. Fields that are not known are refused, and every problem",
        "is told at once with its remedy, before anything is registered. Secrets are set beside it with `pulumi config set --secret`:",
        "`smtpPassword` and `sentryDsn`, both optional.",
        "",
    ]
    lines += ["## The stage", "", *_fields(schema, StageConfig, schema["$defs"]), ""]
    for name, field in StageConfig.model_fields.items():
        part = field.annotation
        if isinstance(part, type) and issubclass(part, Part):
            lines += [f"## `{field.alias or name}`", "", _texts()[part.__name__][""], ""]
            lines += [*_fields(schema["$defs"][part.__name__], part, schema["$defs"]), ""]
    return "\n".join([*lines, *_outputs()]) + "\n"


def _fields(schema: Mapping[str, Any], model: type[Part], defs: Mapping[str, Any]) -> Iterator[str]:
    texts = _texts()[model.__name__]
    yield "| Field | Type | Default | What it is |"
    yield "|---|---|---|---|"
    required = schema.get("required", [])
    for name, field in model.model_fields.items():
        alias = field.alias or name
        about = schema["properties"][alias]
        part = about.get("$ref", "").rpartition("/")[2]
        kind = f"[`{alias}`](#{alias.lower()})" if part else _type(about)
        text = _texts()[part][""] if part in defs else texts.get(name, "")
        default = (
            "required" if alias in required else f"`{json.dumps(about['default'])}`" if "default" in about else "the defaults of its fields"
        )
        yield f"| `{alias}` | {kind} | {default} | {_cell(text)} |"


def _type(about: Mapping[str, Any]) -> str:
    if about.get("type") == "array":
        least, most = about.get("minItems", 0), about.get("maxItems")
        count = f", {least} to {most}" if most else f", {least} at least" if least else ""
        return f"list of: {_type(about['items'])}{count}"
    choices = about.get("enum")
    if choices:
        shown = ", ".join(f"`{choice}`" for choice in choices[:MOST_CHOICES])
        return shown if len(choices) <= MOST_CHOICES else f"{shown} … `{choices[-1]}`"
    if "format" in about:
        return FORMATS[about["format"]]
    if about["type"] == "integer":
        bounds = (about.get("minimum"), about.get("maximum"))
        return {True: f"whole number, {bounds[0]} to {bounds[1]}", False: f"whole number, {bounds[0]} or more"}[bounds[1] is not None]
    if about["type"] == "boolean":
        return "`true`, `false`"
    return f"text, `{_cell(about['pattern'])}`" if "pattern" in about else "text"


@cache
def _texts() -> dict[str, Texts]:
    return field_texts(config_module)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _outputs() -> Iterator[str]:
    exported = set(graph("prod").exports)
    if exported != set(OUTPUTS):
        raise ValueError(f"infra/generate.py must say of every output what it is: {sorted(exported ^ set(OUTPUTS))}")
    yield from ("## Outputs", "", "None of them is a secret.", "", "| Output | What it is |", "|---|---|")
    yield from (f"| `{name}` | {text} |" for name, text in OUTPUTS.items())
    yield from ("", "## Pictures", "")
    yield from (f"- [{stage}](infrastructure-{stage}.svg)" for stage in STAGES)


def costs_page() -> str:
    """Return the page of costs."""
    estimates = {stage: estimate(stage_config(stage)) for stage in STAGES}
    return (
        "\n".join(
            [
                "# What a stage costs",
                "",
                MADE,
                "",
                f"US dollars for a month of 730 hours: on-demand prices of us-east-1 on {catalog().prices_of} (`infra/catalog.toml`),",
                *COSTS,
                "",
                *_summary(estimates),
                "",
                "A usual month stays below four fifths of the budget, where the first mail is sent; a test holds it.",
                "",
                *_assumptions(),
                "",
                *_changes(),
                *(text for stage in STAGES for text in _detail(stage, estimates[stage])),
            ]
        ).rstrip()
        + "\n"
    )


def _summary(estimates: Mapping[str, list[Line]]) -> Iterator[str]:
    yield f"| component | {' | '.join(STAGES)} |"
    yield "|---|" + "---:|" * len(STAGES)
    components = dict.fromkeys(line.component for lines in estimates.values() for line in lines)
    for component in components:
        sums = [total([line for line in estimates[stage] if line.component == component]) for stage in STAGES]
        yield f"| [{component}](../infrastructure/{component}.md) | {' | '.join(f'{usd:,.0f}' for usd in sums)} |"
    yield f"| **a month** | {' | '.join(f'**{total(estimates[stage]):,.0f}**' for stage in STAGES)} |"
    budgets = (f"{stage_config(stage).alarms.monthly_budget_usd:,}" for stage in STAGES)
    yield f"| budget (`alarms.monthlyBudgetUsd`) | {' | '.join(budgets)} |"


def _assumptions() -> Iterator[str]:
    rows: dict[str, Callable[[str], object]] = {
        "GB to clients": lambda stage: TRAFFIC[stage].out_gb,
        "GB through NAT": lambda stage: TRAFFIC[stage].nat_gb,
        "GB between zones": lambda stage: TRAFFIC[stage].zones_gb,
        "GB of logs": lambda stage: TRAFFIC[stage].logs_gb,
        "GB of objects": lambda stage: TRAFFIC[stage].objects_gb,
        "load balancer units on average": lambda stage: TRAFFIC[stage].balancer_units,
        "nodes on average": lambda stage: nodes(stage_config(stage)),
    }
    yield from ("## What is assumed of a month", "", f"| | {' | '.join(STAGES)} |", "|---|" + "---:|" * len(STAGES))
    for name, value in rows.items():
        yield f"| {name} | {' | '.join(f'{value(stage):,}' for stage in STAGES)} |"
    yield ""
    yield "Pods are on average a quarter of the way from their fewest to their most. Backups change by 2 % of the database a day; a"
    yield "snapshot of the broker holds a tenth of its memory. Not counted: support plans, registrar, mail, Sentry, people."


def _changes() -> Iterator[str]:
    prod, dev = stage_config("prod"), stage_config("dev")
    changes: list[tuple[str, StageConfig, str, dict[str, object]]] = [
        ("prod: a read replica", prod, "database", {"replicas": 1}),
        ("prod: the next database class, `db.r7g.2xlarge`", prod, "database", {"instance_class": "db.r7g.2xlarge"}),
        ("prod: RDS Proxy", prod, "database", {"proxy": True}),
        ("prod: a second replica of broker and cache", prod, "cache", {"replicas": 2}),
        ("prod: Database Insights standard", prod, "database", {"insights": "standard"}),
        ("dev: Multi-AZ", dev, "database", {"multi_az": True}),
        ("dev: a NAT gateway a zone", dev, "network", {"nat": "per-zone"}),
    ]
    yield from ("## What a change costs", "", "| change | a month |", "|---|---:|")
    for text, config, part, fields in changes:
        after = config.model_copy(update={part: getattr(config, part).model_copy(update=fields)})
        yield f"| {text} | {total(estimate(after)) - total(estimate(config)):+,.0f} |"
    yield ""


def _detail(stage: str, lines: list[Line]) -> Iterator[str]:
    yield from (f"## {stage}, line by line", "", "| component | what | number | for one | a month |", "|---|---|---:|---:|---:|")
    for line in lines:
        yield f"| {line.component} | {line.what} | {line.number:,.10g} {line.unit} | {line.price:,.3f} | {line.usd:,.2f} |"
    yield f"| | **total** | | | **{total(lines):,.2f}** |"
    yield ""


def pages() -> dict[Path, Callable[[], str]]:
    """Return what is made, by its place."""
    made: dict[Path, Callable[[], str]] = {
        REFERENCE / "infrastructure.md": configuration_page,
        REFERENCE / "infrastructure-costs.md": costs_page,
        REFERENCE / "infrastructure-growth.md": lambda: growth_page.page(stage_config("prod"), MADE),
    }
    return made | {REFERENCE / f"infrastructure-{stage}.svg": partial(_picture, stage) for stage in STAGES}


def _picture(stage: str) -> str:
    return draw(graph(stage), f"FastAPI Platform on AWS: the stage {stage}")


def main() -> int:
    """Write what is stale, or with ``--check`` only tell."""
    stale = {
        path: text for path, make in pages().items() if (text := make()) != (path.read_text(encoding="utf-8") if path.exists() else None)
    }
    if "--check" in sys.argv[1:]:
        if stale:
            sys.stderr.write(f"Stale: {', '.join(path.name for path in stale)}; run `python -m infra.generate`.\n")
        return int(bool(stale))
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
