"""What judges a rehearsal finds what it shall find."""

from typing import Any, cast

import pytest

from tests.infra.rehearsal import interruptions, judge
from tests.infra.rehearsal.engine import Engine, Outcome
from tests.infra.rehearsal.interruptions import Interruption, Killed
from tests.infra.rehearsal.judge import Report
from tests.infra.rehearsal.values import Values, differences, secret, secrets_of
from tests.infra.rehearsal.world import Step, Thing, World

BUCKET = "urn:pulumi:dev::fastapi-platform::platform:infra:Storage$aws:s3/bucket:Bucket::uploads"
POLICY = "urn:pulumi:dev::fastapi-platform::aws:s3/bucketPolicy:BucketPolicy::uploads"


class State:
    """An engine with a state, and a world with things in it."""

    def __init__(self, *resources: Values, pending: bool = False) -> None:
        self._resources, self._pending = list(resources), pending
        self.things: list[Thing] = []
        self.steps: list[Step] = []

    def deployment(self) -> dict[str, Any]:
        return {"resources": self._resources, "pending_operations": [{}] if self._pending else None}

    def all(self) -> list[Thing]:
        return self.things

    def judged(self) -> list[str]:
        report = Report()
        judge.same_as_state(report, "here", cast("Engine", self), cast("World", self))
        return report.faults


def resource(id_: str = "uploads-1") -> Values:
    return {"urn": BUCKET, "id": id_, "custom": True, "type": "aws:s3/bucket:Bucket"}


def thing(id_: str = "uploads-1") -> Thing:
    return Thing(BUCKET, "aws:s3/bucket:Bucket", id_, {}, {})


def test_a_state_that_agrees_with_what_exists_has_no_fault() -> None:
    state = State(resource())
    state.things = [thing()]
    assert state.judged() == []


def test_what_exists_twice_what_is_gone_and_what_is_pending_are_faults() -> None:
    twice = State(resource())
    twice.things = [thing(), thing("uploads-2")]
    assert twice.judged() == ["here: aws:s3/bucket:Bucket uploads (uploads-2) exists, and the state does not know"]
    assert State(resource()).judged() == ["here: the state has aws:s3/bucket:Bucket uploads (uploads-1), which does not exist"]
    assert State(pending=True).judged() == ["here: operations are still pending"]


def test_what_was_made_before_what_it_depends_on_is_a_fault() -> None:
    state, report = State(), Report()
    state.steps = [Step("create", POLICY, "uploads"), Step("create", BUCKET, "uploads")]
    judge.in_order(report, [{"urn": POLICY, "propertyDependencies": {"bucket": [BUCKET]}}], cast("World", state))
    assert report.faults == ["aws:s3/bucketPolicy:BucketPolicy uploads was made before aws:s3/bucket:Bucket uploads, which it depends on"]


def test_an_operation_that_was_not_planned_is_a_fault() -> None:
    report = Report()
    outcome = Outcome({BUCKET: "replace", POLICY: "same"}, {BUCKET: ["bucket"], POLICY: []})
    judge.as_expected(report, "a change", outcome, {"aws:s3/bucket:Bucket upl*": {"replace"}})
    assert report.faults == []
    judge.as_expected(report, "a change", outcome, {"aws:s3/bucket:Bucket uploads": {"update"}})
    assert report.faults == ["a change: replace of aws:s3/bucket:Bucket uploads, by ['bucket']"]


def test_a_planned_change_that_changes_nothing_is_a_fault() -> None:
    report = Report()
    judge.as_expected(report, "a change", Outcome({BUCKET: "same"}), {"aws:s3/bucket:Bucket uploads": {"update"}})
    assert report.faults == ["a change: nothing happened"]


@pytest.mark.parametrize("text", ['{"a": "redis://:pass\\"word@host"}', 'redis://:pass"word@host'])
def test_a_secret_is_found_as_it_is_and_as_json_writes_it(text: str) -> None:
    report = Report()
    judge.no_secret(report, "state", {'pass"word'}, "nothing", text)
    assert report.faults == ["state: 1 secrets are readable"]


def test_secrets_are_what_is_marked_and_whatever_stands_in_it() -> None:
    assert set(secrets_of({"a": secret({"url": "one"}), "b": [{"c": secret("two")}], "d": "three"})) == {"one", "two"}


def test_differences_are_paths_without_places_in_lists() -> None:
    old = {"a": {"b": [{"c": 1}, {"c": 2}]}, "d": secret("x"), "e": None}
    new = {"a": {"b": [{"c": 1}, {"c": 3}]}, "d": secret("y"), "f": [1]}
    assert sorted(set(differences(old, new))) == ["a.b.c", "d", "f"]


@pytest.mark.parametrize(("moment", "told"), [("asked", ["asked"]), ("done", ["asked", "done"])])
def test_an_engine_is_killed_once_and_nothing_is_begun_after_it(monkeypatch: pytest.MonkeyPatch, moment: str, told: list[str]) -> None:
    kills: list[str] = []
    monkeypatch.setattr(interruptions, "kill", lambda: kills.append(moment))
    interruption = Interruption(2, moment)
    for one in ("asked", "done", "answered"):
        interruption(one)
    for one in told[:-1]:
        interruption(one)
    with pytest.raises(Killed):
        interruption(told[-1])
    with pytest.raises(Killed):
        interruption("asked")
    interruption("done")
    assert kills == [moment]
