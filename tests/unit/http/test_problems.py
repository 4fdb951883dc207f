"""Every exception is a problem."""

import logging
from typing import Any

import asyncpg
import orjson
import pytest
from fastapi.exceptions import RequestValidationError
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from app.core.errors import PayloadTooLarge, Problem, Unauthorized, ValidationFailed, catalogue
from app.core.http.problems import from_exception, pointer, render


def fault(*location: str | int, kind: str = "missing", message: str = "Field required", **ctx: Any) -> dict[str, Any]:
    """A fault as pydantic tells it."""
    return {"type": kind, "loc": location, "msg": message, "input": "secret", "ctx": ctx}


def members(problem: Problem) -> dict[str, Any]:
    """The members of a problem on the wire."""
    _, _, body = render(problem, request_id="r1", instance="/somewhere")
    found: dict[str, Any] = orjson.loads(body)
    return found


def sqlstate(state: str) -> asyncpg.PostgresError:
    """An error of PostgreSQL."""
    return asyncpg.PostgresError.new({"C": state, "M": "a row's content"})


def test_a_problem_has_the_members_of_rfc_9457_and_ours() -> None:
    assert members(Problem("What happened.")) == {
        "type": "/errors/internal-error",
        "title": "Internal server error",
        "status": 500,
        "detail": "What happened.",
        "instance": "/somewhere",
        "request_id": "r1",
    }


def test_a_problem_may_have_more_members() -> None:
    assert members(Unauthorized(extra={"challenge": "abc"}))["challenge"] == "abc"


def test_the_headers_of_a_problem_are_those_of_the_answer() -> None:
    status, headers, body = render(Unauthorized(), request_id="r1", instance="/")
    assert status == 401
    assert dict(headers) == {
        b"content-type": b"application/problem+json",
        b"content-length": str(len(body)).encode(),
        b"www-authenticate": b"Bearer",
    }


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (("body",), ""),
        (("body", "title"), "/title"),
        (("body", "attributes", "a"), "/attributes/a"),
        (("body", 3, "title"), "/3/title"),
        (("query", "limit"), "/limit"),
        (("path", "item_id"), "/item_id"),
        (("body", "a/b~c"), "/a~1b~0c"),
    ],
)
def test_a_location_is_a_json_pointer(location: tuple[str | int, ...], expected: str) -> None:
    assert pointer(location) == expected


def test_validation_names_every_fault_and_repeats_no_input() -> None:
    problem = from_exception(RequestValidationError([fault("body", "title"), fault("query", "limit", message="value error, too much")]))
    assert isinstance(problem, ValidationFailed)
    assert problem.errors == [
        {"pointer": "/title", "detail": "Field required"},
        {"pointer": "/limit", "detail": "Value error, too much"},
    ]
    assert b"secret" not in render(problem, request_id="r1", instance="/")[2]


def test_a_validators_own_words_stand_alone() -> None:
    problem = from_exception(RequestValidationError([fault("body", "a", message="Value error, must not contain NUL")]))
    assert problem.errors[0]["detail"] == "Must not contain NUL"


def test_at_most_a_hundred_faults_are_named() -> None:
    problem = from_exception(RequestValidationError([fault("body", number) for number in range(1000)]))
    assert len(problem.errors) == 100


def test_a_member_named_by_a_lone_surrogate_can_be_named() -> None:
    problem = from_exception(RequestValidationError([fault("body", "\ud800")]))
    assert members(problem)["errors"] == [{"pointer": "/?", "detail": "Field required"}]


def test_json_that_cannot_be_read_is_malformed() -> None:
    problem = from_exception(RequestValidationError([fault("body", 1, kind="json_invalid", error="Expecting value")]))
    assert (problem.status, problem.detail) == (400, "The body is not JSON: Expecting value.")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (HTTPException(404), 404),
        (HTTPException(405), 405),
        (HTTPException(413), 413),
        (HTTPException(415), 415),
        (HTTPException(418), 400),
        (HTTPException(503), 503),
        (HTTPException(504), 500),
        (sqlstate("40001"), 409),
        (sqlstate("40P01"), 409),
        (sqlstate("55P03"), 409),
        (sqlstate("23505"), 409),
        (sqlstate("23503"), 409),
        (sqlstate("23514"), 422),
        (sqlstate("22003"), 422),
        (sqlstate("22021"), 422),
        (sqlstate("54000"), 422),
        (sqlstate("57014"), 503),
        (sqlstate("57P01"), 503),
        (sqlstate("53300"), 503),
        (sqlstate("08006"), 503),
        (sqlstate("25006"), 503),
        (sqlstate("42501"), 500),
        (sqlstate("P0001"), 500),
        (asyncpg.InterfaceError("connection is closed"), 503),
        (asyncpg.DataError("value out of int64 range"), 422),
        (PoolTimeout(), 503),
        (InvalidRequestError(), 500),
        (RedisConnectionError(), 503),
        (ConnectionRefusedError(), 503),
        (TimeoutError(), 503),
        (KeyError("secret"), 500),
    ],
)
def test_an_exception_is_a_problem_of_its_status(error: Exception, status: int) -> None:
    problem = from_exception(error)
    assert problem.status == status
    assert "secret" not in problem.detail
    assert "a row's content" not in problem.detail


def test_what_sqlalchemy_wraps_is_judged_by_what_is_inside() -> None:
    error = DBAPIError("INSERT", {}, sqlstate("23505"))
    assert from_exception(error).status == 409


def test_a_connection_that_broke_is_no_fault_of_the_statement() -> None:
    error = DBAPIError("INSERT", {}, sqlstate("XX000"), connection_invalidated=True)
    assert from_exception(error).status == 503


def test_headers_of_an_http_exception_stay() -> None:
    assert from_exception(HTTPException(405, headers={"Allow": "GET"})).headers == {"Allow": "GET"}


def test_an_explanation_of_an_http_exception_stays_and_a_mere_phrase_does_not() -> None:
    assert from_exception(HTTPException(400, "Missing boundary")).detail == "Missing boundary"
    assert from_exception(HTTPException(404)).detail != "Not Found"


def test_what_fastapi_wraps_while_it_reads_a_body_is_unwrapped() -> None:
    error = HTTPException(400)
    error.__cause__ = PayloadTooLarge()
    assert from_exception(error).status == 413


def test_what_nobody_foresaw_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        from_exception(KeyError("secret"))
    (record,) = caplog.records
    assert record.exc_info is not None


def test_what_was_foreseen_is_not(caplog: pytest.LogCaptureFixture) -> None:
    from_exception(HTTPException(404))
    from_exception(ValidationFailed())
    assert not caplog.records


def test_every_problem_of_the_catalogue_explains_itself() -> None:
    problems = catalogue()
    assert len(problems) >= 15
    for slug, cls in problems.items():
        assert cls.slug == slug
        assert cls.description.endswith(".")
        assert cls.title
        assert 400 <= cls.status < 600


def test_problems_that_share_a_slug_share_status_and_title() -> None:
    def walk(cls: type[Problem]) -> list[type[Problem]]:
        return [cls, *(found for child in cls.__subclasses__() for found in walk(child))]

    listed = catalogue()
    for cls in walk(Problem)[1:]:
        assert issubclass(cls, listed[cls.slug])
        assert (cls.status, cls.title) == (listed[cls.slug].status, listed[cls.slug].title)
