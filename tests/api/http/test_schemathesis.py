"""Schemathesis against the running API: whatever the document allows or forbids, the answers are as the document says.

The same requests every time: the seed is fixed. A failure shows the request as a curl command; ``Authorization`` is anybody's token.
"""

import asyncio
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

import pytest
import schemathesis
from fastapi import FastAPI
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from tests.api.conftest import MakePerson
from tests.api.http.conftest import Service
from tests.api.operations import operations

SEED: Final = 20260131
MINUTES: Final = 5

#: What a made-up request cannot succeed at: passwords, refresh tokens, and ids of jobs, which are rarely hit.
BEYOND_REACH: Final = frozenset(
    {"POST /api/v1/auth/login", "POST /api/v1/auth/refresh", "GET /api/v1/jobs/{job_id}", "POST /api/v1/jobs/{job_id}/cancel"}
)

#: Operations that end the session they are called with: every call gets a new one.
LAST_CALLS: Final = frozenset({"logout", "delete_me", "delete_user", "change_user"})

CHECKS: Final[dict[str, Any]] = {
    # A valid request may still meet a conflict with what is stored, a version that is over, or a limit.
    "positive_data_acceptance": {"expected-statuses": ["2xx", "3xx", "401", "403", "404", "409", "412", "429"]},
    # What is too large is refused as such before it is judged.
    "negative_data_rejection": {
        "expected-statuses": ["400", "401", "403", "404", "405", "408", "409", "412", "413", "414", "415", "422", "429", "431"]
    },
}

#: Rules that no JSON schema can express, by what the problem says. A valid request may be refused for these.
BEYOND_SCHEMAS: Final = (
    "this is not a cursor of this service",
    "must not contain nul",
    "one of the most common passwords",
    "bytes as compact json",
    "must be a json object",
    "use either `cursor` or `skip`",
    "not a valid email address",
    "this idempotency-key was used with another body",
    "the file is empty",
    "must be within the years 1 to 9999",
)


def configured(phases: dict[str, Any], checks: dict[str, Any]) -> SchemathesisConfig:
    """Return a configuration: all checks, reproducible, nothing kept on disk."""
    phases = {name: phases.get(name, {"enabled": False}) for name in ("examples", "coverage", "fuzzing", "stateful")}
    generation = {"deterministic": True, "database": "none", "no-shrink": True}
    values: dict[str, Any] = {"seed": SEED, "continue-on-failure": True, "generation": generation, "checks": checks, "phases": phases}
    return SchemathesisConfig.from_dict(values)  # pyright: ignore[reportUnknownMemberType]  # its dictionary is untyped


def failures(schema: Any) -> tuple[list[str], dict[str, set[int]]]:
    """Run everything; return what failed, and the statuses every operation answered."""
    failed: dict[tuple[str, ...], str] = {}
    answered: dict[str, set[int]] = {}
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            raise event.value if isinstance(event, events.NonFatalError) else event.exception
        if not isinstance(event, events.ScenarioFinished):
            continue
        recorded: Any = event.recorder
        for case_id, interaction in recorded.interactions.items():
            if interaction.response is not None:
                answered.setdefault(recorded.cases[case_id].value.operation.label, set()).add(interaction.response.status_code)
        for case_id, checks in recorded.checks.items():
            for check in checks:
                if check.failure_info is not None:
                    failure = check.failure_info.failure
                    label = recorded.cases[case_id].value.operation.label
                    answer = recorded.interactions[case_id].response
                    said = f"{answer.status_code} {answer.text[:500]}" if answer is not None else "no answer"
                    message = f"{label}: {check.name}: {failure.title}: {failure.message}\n    {check.failure_info.code_sample}\n    {said}"
                    failed.setdefault((label, check.name, failure.title), message)
    return list(failed.values()), answered


def is_a_fault(_context: Any, failure: Any, _case: Any, response: Any) -> bool:
    """Tell a fault from a refusal for a rule that a schema cannot express."""
    return failure.title != "Schema-valid request rejected" or not any(rule in response.text.lower() for rule in BEYOND_SCHEMAS)


def sign_requests(schema: Any, sign_in: Callable[[], str]) -> None:
    """Send every request with an access token, a new one where the session may be over."""
    tokens = [sign_in()]

    class SignedIn:
        def get(self, case: Any, context: Any) -> str:
            return sign_in() if context.operation.definition.raw["operationId"] in LAST_CALLS else tokens[-1]

        def set(self, case: Any, data: str, context: Any) -> None:
            case.headers["Authorization"] = f"Bearer {data}"

    def after_call(_context: Any, case: Any, response: Any) -> None:
        if response.status_code == 401 and case.headers.get("Authorization") == f"Bearer {tokens[-1]}":
            tokens.append(sign_in())

    schema.auth(refresh_interval=None)(SignedIn)
    schema.hook("after_call")(after_call)


async def run(
    app: FastAPI, service: Service, make_person: MakePerson, phases: dict[str, Any], checks: dict[str, Any], *, is_superuser: bool
) -> dict[str, set[int]]:
    """Run phases signed in, in a thread, while this one serves; return the statuses answered, once nothing failed."""
    loop = asyncio.get_running_loop()

    async def token() -> str:
        return (await make_person(is_superuser=is_superuser)).token

    def sign_in() -> str:
        return asyncio.run_coroutine_threadsafe(token(), loop).result(30)

    def go() -> tuple[list[str], dict[str, set[int]]]:
        schema: Any = schemathesis.openapi.from_dict(deepcopy(app.openapi()), config=configured(phases, checks))
        schema.config.update(base_url=service.url)
        sign_requests(schema, sign_in)
        schema.hook("filter_failure")(is_a_fault)
        return failures(schema)

    failed, answered = await asyncio.to_thread(go)
    assert not failed, "\n".join([f"{len(failed)} failures, seed {SEED}:", *failed])
    assert answered.keys() == {repr(operation) for operation in operations(app)}
    return answered


@pytest.mark.timeout(MINUTES * 60)
async def test_every_route_keeps_to_the_document_for_a_user(app: FastAPI, service: Service, make_person: MakePerson) -> None:
    phases = {"examples": {}, "fuzzing": {"generation": {"max-examples": 15}}, "stateful": {"generation": {"max-examples": 20}}}
    # Whoever registers somebody is not that somebody, and does not see the account.
    checks = {**CHECKS, "ensure_resource_availability": {"enabled": False}}
    await run(app, service, make_person, phases, checks, is_superuser=False)


@pytest.mark.timeout(MINUTES * 60)
async def test_every_route_keeps_to_the_document_at_its_edges_for_a_superuser(
    app: FastAPI, service: Service, make_person: MakePerson
) -> None:
    phases = {"coverage": {"generate-duplicate-query-parameters": True}, "stateful": {"generation": {"max-examples": 20}}}
    answered = await run(app, service, make_person, phases, CHECKS, is_superuser=True)
    refused = {
        repr(operation)
        for operation in operations(app)
        if not answered[repr(operation)] & {int(status) for status in operation.described["responses"] if status.startswith("2")}
    }
    assert refused <= BEYOND_REACH
