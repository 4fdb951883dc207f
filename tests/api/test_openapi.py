"""The OpenAPI document as its readers, people and generators, need it; ``test_contract`` holds it against the routes."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from app.core.errors import catalogue
from tests.api.operations import JSON, Operation, operations

PROBLEM = "application/problem+json"


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    """The document as it is served."""
    return app.openapi()


@pytest.fixture
def everything(app: FastAPI) -> list[Operation]:
    """Every operation."""
    return list(operations(app))


def responses(found: list[Operation]) -> Iterator[tuple[Operation, str, dict[str, Any]]]:
    """Return every response of every operation: operation, status, response."""
    for operation in found:
        for status, response in operation.described["responses"].items():
            yield operation, status, response


def test_it_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document, cls=OpenAPIV31SpecValidator)


def test_examples_of_errors_stand_at_the_status_they_have(everything: list[Operation]) -> None:
    known = catalogue()
    for operation, status, response in responses(everything):
        for slug in response.get("content", {}).get(PROBLEM, {}).get("examples", ()):
            assert str(known[slug].status) == status, (operation, slug)


def test_what_the_protocol_itself_may_answer_is_declared(everything: list[Operation]) -> None:
    for operation in everything:
        assert operation.described["responses"].keys() >= {"400", "408", "414", "431", "500", "503"}, operation


def test_every_success_has_a_schema_or_no_content(everything: list[Operation]) -> None:
    for operation, status, response in responses(everything):
        if status in {"204", "304"}:
            assert "content" not in response, (operation, status)
        elif status.startswith("2"):
            assert response["content"][JSON]["schema"], (operation, status)


def test_what_is_made_has_a_location(everything: list[Operation]) -> None:
    many = {"create_items", "announce_upload", "create_ticket"}  # several at once, and what cannot be read again
    for operation, status, response in responses(everything):
        if status in {"201", "202"} and operation.described["operationId"] not in many:
            assert "Location" in response["headers"], operation


def test_examples_are_valid(everything: list[Operation], document: dict[str, Any]) -> None:
    some = everything[0]
    problem = document["components"]["schemas"]["ProblemDetails"]
    for slug, example in document["components"]["examples"].items():
        assert some.is_valid(problem, example["value"]), slug
    for name, schema in document["components"]["schemas"].items():
        for member, described in schema.get("properties", {}).items():
            for example in described.get("examples", ()):
                assert some.is_valid(described, example), (name, member)
    for operation in everything:
        for described in operation.described.get("parameters", []):
            for example in described["schema"].get("examples", ()):
                assert operation.is_valid(described["schema"], example), (operation, described["name"])


def test_timestamps_say_that_they_are(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        for member, described in schema.get("properties", {}).items():
            if member.endswith("_at"):
                assert described.get("format") == "date-time", (name, member)
