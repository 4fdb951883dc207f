"""The OpenAPI document: valid, complete, and as its readers need it."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from app.core.errors import catalogue
from tests.api.operations import JSON, Operation, operations

PROBLEM = "application/problem+json"
#: What any request may be answered with, whatever it asks for.
EVERYWHERE = {"400", "408", "414", "431", "500", "503"}


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


def test_every_route_is_in_it(app: FastAPI, document: dict[str, Any]) -> None:
    shown = {
        f"{method} {context.path_format}"
        for context in iter_route_contexts(app.routes)
        if isinstance(context.original_route, APIRoute) and context.include_in_schema
        for method in context.methods or ()
    }
    assert shown == {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}


def test_operation_ids_are_unique_names(everything: list[Operation]) -> None:
    ids = Counter(operation.described["operationId"] for operation in everything)
    assert max(ids.values()) == 1
    assert all(name.isidentifier() for name in ids)


def test_every_operation_says_what_it_does_and_belongs_to_a_tag_that_is_described(
    everything: list[Operation], document: dict[str, Any]
) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for operation in everything:
        assert operation.described["description"], operation
        assert operation.described["summary"], operation
        assert set(operation.described["tags"]) <= tags, operation


def test_every_error_is_a_problem_with_its_examples(everything: list[Operation], document: dict[str, Any]) -> None:
    known = catalogue()
    for operation, status, response in responses(everything):
        if status.startswith(("2", "3")):
            continue
        assert list(response["content"]) == [PROBLEM], (operation, status)
        content = response["content"][PROBLEM]
        assert content["schema"] == {"$ref": "#/components/schemas/ProblemDetails"}, (operation, status)
        assert content["examples"], (operation, status)
        for slug in content["examples"]:
            assert str(known[slug].status) == status, (operation, slug)


def test_every_success_has_a_schema_or_no_content(everything: list[Operation]) -> None:
    for operation, status, response in responses(everything):
        if status in {"204", "304"}:
            assert "content" not in response, (operation, status)
        elif status.startswith("2"):
            assert response["content"][JSON]["schema"], (operation, status)


def test_what_any_request_may_meet_is_declared(everything: list[Operation]) -> None:
    for operation in everything:
        declared = set(operation.described["responses"])
        assert declared >= EVERYWHERE, operation
        assert ("401" in declared) >= operation.is_for_the_signed_in, operation
        assert bool(operation.media_types) <= (declared >= {"413", "415", "422"}), operation
        assert "X-Request-ID" in operation.described["responses"]["400"]["headers"], operation


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


def test_a_parameter_is_absent_or_a_value_but_never_null(everything: list[Operation]) -> None:
    for operation in everything:
        for described in operation.described.get("parameters", []):
            assert "null" not in str(described["schema"].get("anyOf", described["schema"].get("type"))), (operation, described["name"])


def test_timestamps_say_that_they_are(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        for member, described in schema.get("properties", {}).items():
            if member.endswith("_at"):
                assert described.get("format") == "date-time", (name, member)
