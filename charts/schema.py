"""The schema of the values: types from values.yaml, bounds from constraints.yaml, settings from the service's own class."""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from app.core.config import Settings
from app.core.queues import QUEUES
from charts.values_file import Value

CHART = Path(__file__).parent / "fastapi-platform"
CONSTRAINTS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "constraints.yaml").read_text(encoding="utf-8"))
# Secrets by their meaning that their types do not tell.
SECRETS = {"S3_ACCESS_KEY_ID"}
# Nothing on Kubernetes reads these: the local stack makes its superuser by them.
LOCAL_ONLY = {"FIRST_SUPERUSER_EMAIL", "FIRST_SUPERUSER_PASSWORD"}
MIGRATION = {"MIGRATION_DATABASE_URL"}
# A type of a default, and how a schema calls it.
TYPES: dict[type, str] = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}
KEPT = ("type", "enum", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength")

type Schema = dict[str, Any]


def chart_schema(root: Value) -> Schema:
    """Return the schema of a chart's values, draft 7, which refuses what it does not know."""
    schema = _schema(root)
    properties = schema["properties"]
    worker = properties["workers"]["properties"]["main"]
    defaults = {name: _partial(schema) for name, schema in properties["workerDefaults"]["properties"].items()}
    definitions = CONSTRAINTS["definitions"] | {
        "pods": {"type": "object", "additionalProperties": False, "properties": properties["pods"]["properties"]},
        "worker": {
            "type": "object",
            "additionalProperties": False,
            "required": list(worker["properties"]),
            "properties": worker["properties"] | defaults,
        },
    }
    properties["workers"] = {
        "type": "object",
        "description": properties["workers"]["description"],
        "propertyNames": {"pattern": "^[a-z]([-a-z0-9]{0,13}[a-z0-9])?$"},
        "additionalProperties": {"$ref": "#/definitions/worker"},
    }
    for old, new in definition("renamed").items():
        properties[old] = {"description": f"Refused by the chart, which says that it is called {new} here."}
    title = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart fastapi-platform"}
    # Helm puts the values of the whole release under `global`, whether they are used or not.
    properties["global"] = {"type": "object", "description": "Set by Helm; the chart reads nothing from it."}
    return title | {"definitions": definitions} | schema


def _partial(schema: Schema) -> Schema:
    """Return a schema for what is laid over defaults, and may leave anything out."""
    inner = {name: _partial(child) for name, child in schema.get("properties", {}).items()}
    return {key: value for key, value in schema.items() if key != "required"} | ({"properties": inner} if inner else {})


def definition(name: str) -> dict[str, str]:
    """Return the pairs that a template defines as ``platform.<name>``."""
    for template in sorted((CHART / "templates").rglob("*.tpl")):
        pattern = rf'define "platform\.{name}" -}}}}\n(.*?)\n{{{{- end }}}}'
        if match := re.search(pattern, template.read_text(encoding="utf-8"), re.DOTALL):
            return yaml.safe_load(match[1])
    raise LookupError(f"no template defines platform.{name}")


def secret_settings() -> set[str]:
    """Return the names of the settings that belong into a Secret."""
    kinds = {name: str(field.annotation) for name, field in Settings.model_fields.items()}
    typed = {name for name, kind in kinds.items() if "SecretStr" in kind or "Dsn" in kind}
    return (typed | SECRETS) - LOCAL_ONLY


def _schema(value: Value) -> Schema:
    """Return the schema of a value, from its default and the constraints on it."""
    described: Schema = {"description": text} if (text := value.description or value.note) else {}
    if from_code := next((make for pattern, make in FROM_CODE.items() if fnmatchcase(value.name, pattern)), None):
        return described | from_code()
    constraint: Schema = {}
    for pattern, more in CONSTRAINTS["values"].items():
        if fnmatchcase(value.name, pattern):
            constraint = more if "$ref" in more else constraint | more
    if "$ref" in constraint:
        # Beside a reference, draft 7 reads nothing else but descriptions.
        return described | constraint
    if value.children:
        properties = {child.path[-1]: _schema(child) for child in value.children}
        # All are required: `null` in a values file takes a default away, and no template could do without it.
        return described | {"type": "object", "additionalProperties": False, "required": list(properties), "properties": properties}
    schema = described | {"type": TYPES[type(value.default)]} | constraint
    _demand_bounds(value, schema)
    return schema


def _demand_bounds(value: Value, schema: Schema) -> None:
    needed = {"integer": "minimum", "array": "items", "object": "properties"}.get(schema["type"])
    if needed and needed not in schema:
        raise ValueError(f"charts/constraints.yaml says nothing of {value.name}: give it {needed}")


def _environment() -> Schema:
    return {"enum": _resolved(Settings.model_json_schema(), "ENVIRONMENT")["enum"]}


def _queues() -> Schema:
    return {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"enum": list(QUEUES)}}


def _config() -> Schema:
    """Settings that are no secrets. Those that the chart computes or keeps secret are let through, for it to say what to set instead."""
    computed, secrets = definition("computedSettings"), secret_settings()
    properties: Schema = {}
    for name in Settings.model_fields.keys() - LOCAL_ONLY:
        if name in computed:
            properties[name] = {"description": "Refused by the chart, which computes it and says what to set instead."}
        elif name in secrets:
            properties[name] = {"description": "Refused by the chart, which says where secrets belong."}
        else:
            properties[name] = _setting(name)
    return {"type": "object", "additionalProperties": False, "properties": _in_order(properties)}


def _secrets(names: set[str]) -> Schema:
    properties = {name: {"type": "string", "description": Settings.model_fields[name].description} for name in names}
    return {"type": "object", "additionalProperties": False, "properties": _in_order(properties)}


def _in_order(properties: Schema) -> Schema:
    return {name: properties[name] for name in Settings.model_fields if name in properties}


def _setting(name: str) -> Schema:
    """Return the schema of a setting as values carry it: a list may also be words with commas between them."""
    full = _resolved(Settings.model_json_schema(), name)
    alternatives = [each for each in full.get("anyOf", [full]) if each.get("type") != "null"]
    kept = {key: alternatives[0][key] for key in KEPT if key in alternatives[0]}
    if kept.get("type") == "array":
        kept = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    return {"description": full["description"]} | kept


def _resolved(schema: Schema, name: str) -> Schema:
    field = schema["properties"][name]
    return field | schema["$defs"][field["$ref"].rpartition("/")[2]] if "$ref" in field else field


# Values whose bounds the service itself knows.
FROM_CODE = {
    "environment": _environment,
    "config": _config,
    "secrets.app.inline": lambda: _secrets(secret_settings() - MIGRATION),
    "secrets.migration.inline": lambda: _secrets(MIGRATION),
    "workers.*.queues": _queues,
}
