"""Every operation of the OpenAPI document, with requests that it would take: what tests of all routes at once are made from."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jsonschema_rs
from fastapi import FastAPI

type Json = dict[str, Any]

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"

#: What stands for a parameter in a path. No such thing exists, so that a request that gets through changes nothing.
PATH_VALUES = {"session_id": str(UUID(int=0)), "item_id": "999999999", "user_id": "999999999", "job_id": "999999999"}

#: A valid value of a member whose schema has no example of its own.
EXAMPLES: Json = {
    "password": "correct horse battery staple",
    "new_password": "another correct horse battery",
    "current_password": "correct horse battery staple",
    "username": "nobody@example.com",
    "refresh_token": "A" * 43,
    "upload_id": str(UUID(int=0)),
    "format": "csv",
}


@dataclass(frozen=True, slots=True, repr=False)
class Operation:
    """A method of a path.

    Attributes:
        path: The path with values in place of its parameters.
        described: Its part of the document, references resolved where tests look.
    """

    method: str
    template: str
    path: str
    described: Json
    document: Json

    def __repr__(self) -> str:
        return f"{self.method} {self.template}"

    @property
    def is_for_the_signed_in(self) -> bool:
        """Whether it takes nobody without an access token."""
        return bool(self.described.get("security")) and {} not in self.described["security"]

    @property
    def media_types(self) -> list[str]:
        """The content types of its body."""
        return list(self.described.get("requestBody", {}).get("content", {}))

    def parameters(self, place: str) -> dict[str, Json]:
        """Return its parameters of a place (``path``, ``query``, ``header``) by name."""
        return {each["name"]: each for each in self.described.get("parameters", []) if each["in"] == place}

    def body_schema(self, media_type: str = JSON) -> Json:
        """Return the schema of its body."""
        return self.resolve(self.described["requestBody"]["content"][media_type]["schema"])

    def resolve(self, schema: Json) -> Json:
        """Return what a reference stands for."""
        reference = schema.get("$ref")
        return schema if reference is None else self.document["components"]["schemas"][reference.rpartition("/")[2]]

    def is_valid(self, schema: Json, value: Any) -> bool:
        """Tell whether a value is one of a schema."""
        whole = {**deepcopy(schema), "components": self.document["components"]}
        return jsonschema_rs.Draft202012Validator(whole, validate_formats=True).is_valid(value)

    @property
    def takes_many(self) -> bool:
        """Whether its body is an array."""
        return self.body_schema().get("type") == "array" if JSON in self.media_types else False

    def members(self, media_type: str = JSON) -> dict[str, Json]:
        """Return the schemas of its body's members, or of those of one entry where the body is an array."""
        return self._entry(media_type)["properties"]

    def example(self, media_type: str = JSON) -> Json:
        """Return a valid body, or one entry of it: members that are required, and those that have an example."""
        schema, members = self._entry(media_type), dict[str, Any]()
        for name, described in schema["properties"].items():
            if "examples" in described:
                members[name] = described["examples"][0]
            elif name in EXAMPLES:
                members[name] = EXAMPLES[name]
            elif name in schema.get("required", []):
                raise LookupError(f"{self}: the required member {name!r} has no example, neither in the document nor in EXAMPLES")
        return members

    def body(self, changed: Json | None = None, media_type: str = JSON) -> Any:
        """Return a valid body with some members changed."""
        entry = {**self.example(media_type), **(changed or {})}
        return [entry] if self.takes_many else entry

    def _entry(self, media_type: str) -> Json:
        schema = self.body_schema(media_type)
        return self.resolve(schema["items"]) if schema.get("type") == "array" else schema


def operations(app: FastAPI) -> Iterator[Operation]:
    """Return every operation.

    Raises:
        KeyError: if a path has a parameter that ``PATH_VALUES`` does not know.
    """
    document = app.openapi()
    for template, methods in document["paths"].items():
        for method, described in methods.items():
            yield Operation(method.upper(), template, template.format_map(PATH_VALUES), described, document)
