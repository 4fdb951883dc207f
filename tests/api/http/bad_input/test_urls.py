"""URLs against the rules."""

from collections.abc import Iterator

import pytest

from tests.api.conftest import Person
from tests.api.http.bad_input.refusals import ask, by, refused
from tests.api.http.conftest import Service
from tests.api.operations import Operation


def with_query(found: list[Operation], name: str | None = None) -> Iterator[Operation]:
    """Return every operation that takes a query, or a certain parameter of it."""
    for operation in found:
        parameters = operation.parameters("query")
        if parameters and (name is None or name in parameters):
            yield operation


NOWHERE = [
    "//", "/%00", "/%", "/%FF", "/..", "/../../etc/passwd", "/api/v1//items/", "/api/v1/items//", "/api/v1/items/%2e%2e/%2e%2e/",
    "/api/v2/", "/api/v1/items;a=b", "/.git/config", "/static/x/../../main.py", "/static/%2e%2e/main.py", "/errors/%2e%2e", "/errors/%00",
    "/" + "a" * 8000, "/" * 8000, "/api/v1/items/" + "%41" * 2600, "/\\..\\", "/api/v1/items/\u00a0", "*",
]  # fmt: skip


@pytest.mark.parametrize("query", ["%", "%z", "a=%2", "%FF", "q=%C3%28", "limit=1&q=%ED%A0%80", b"q=\xc3\xa9", b"q=\xff"])
async def test_a_query_that_is_not_percent_encoded_utf_8_is_400(
    service: Service, superuser: Person, everything: list[Operation], query: str | bytes
) -> None:
    raw = query if isinstance(query, bytes) else query.encode()
    for operation in everything:
        answer = await ask(service, operation.method, operation.path.encode() + b"?" + raw, by(superuser), b"")
        refused(answer, 400, because=operation)


async def test_a_parameter_that_nobody_knows_is_named(service: Service, superuser: Person, everything: list[Operation]) -> None:
    for operation in with_query(everything):
        errors = refused(await ask(service, "GET", f"{operation.path}?surprise=1", by(superuser)), 422, because=operation)["errors"]
        assert [error["pointer"] for error in errors] == ["/surprise"]


async def test_a_parameter_that_comes_twice_is_named(service: Service, superuser: Person, everything: list[Operation]) -> None:
    values = {"integer": "1", "date-time": "2026-01-01T00:00:00Z"}
    for operation in with_query(everything):
        for name, described in operation.parameters("query").items():
            schema = operation.resolve(described["schema"])
            value = schema.get("enum", [values.get(schema.get("format", schema["type"]), "{}")])[0]
            target = f"{operation.path}?{name}={value}&{name}={value}"
            errors = refused(await ask(service, "GET", target, by(superuser)), 422, because=(operation, name))["errors"]
            assert {"pointer": f"/{name}", "detail": "Must be given once"} in errors, (operation, name)


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "9" * 30, "9" * 5000, "%00", "null", "%F0%9F%98%80", "0x10", "\u0661"])
async def test_a_parameter_of_another_type_is_named(service: Service, superuser: Person, everything: list[Operation], value: str) -> None:
    for operation in with_query(everything):
        for name, described in operation.parameters("query").items():
            schema = operation.resolve(described["schema"])
            if schema["type"] == "integer" or "enum" in schema or "format" in schema or value == "%00":
                target = f"{operation.path}?{name}={value}".encode()
                answer = await ask(service, "GET", target, by(superuser))
                problem = refused(answer, 400 if not value.isascii() else 422, because=(operation, name))
                assert not value.isascii() or [error["pointer"] for error in problem["errors"]] == [f"/{name}"], (operation, name)


@pytest.mark.parametrize("value", ["0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59", "0", "2026-01-01", "2026-01-01T00:00:00"])
async def test_a_moment_that_no_calendar_holds_is_422(service: Service, superuser: Person, everything: list[Operation], value: str) -> None:
    for operation in with_query(everything):
        for name, described in operation.parameters("query").items():
            if described["schema"].get("format") == "date-time":
                refused(await ask(service, "GET", f"{operation.path}?{name}={value}", by(superuser)), 422, because=(operation, name))


@pytest.mark.parametrize("cursor", ["", "x", "A" * 200, "A" * 2000, "%00", "..%2F", "eyJhIjoxfQ", "%F0%9F%98%80", "AAAAAAAAAAAAAAAAW10"])
async def test_a_cursor_that_was_not_made_here_is_422(
    service: Service, superuser: Person, everything: list[Operation], cursor: str
) -> None:
    listings = list(with_query(everything, "cursor"))
    assert listings
    for operation in listings:
        answer = await ask(service, "GET", f"{operation.path}?cursor={cursor}", by(superuser))
        assert [error["pointer"] for error in refused(answer, 422, because=operation)["errors"]] == ["/cursor"]


@pytest.mark.parametrize(
    "value", ["0", "-1", "x", "9" * 30, "9" * 5000, "1.5", "%00", "%20", "..", "%2E%2E", "1%2F2", "%FF", "%", "é", "null", "{}"]
)
async def test_an_id_in_a_path_that_cannot_be_is_refused(
    service: Service, superuser: Person, everything: list[Operation], value: str
) -> None:
    for operation in everything:
        for name in operation.parameters("path"):
            path = operation.template.replace(f"{{{name}}}", value).encode("latin-1")
            refused(await ask(service, operation.method, path, by(superuser), b""), 400, 404, 405, 422, because=(operation, value))


@pytest.mark.parametrize("path", NOWHERE)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_path_that_leads_nowhere_is_404(service: Service, superuser: Person, method: str, path: str) -> None:
    refused(await ask(service, method, path, by(superuser), b""), 400, 404, 405, 422, because=path[:60])
