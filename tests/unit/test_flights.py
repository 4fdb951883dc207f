"""The flights script: what it writes is what the import reads, and its check can fail."""

import io
import json
from typing import Any

import pytest

from app.services.import_parsing import Batch, Position, open_file, parser
from tests.flights import FAULTS, Fault, check, write_csv

ROWS = 5 * len(FAULTS)


@pytest.fixture(scope="module")
def written() -> tuple[Batch, dict[int, Fault]]:
    """What the import reads in a file with every fault, and the faulty rows."""
    out = io.BytesIO()
    faults = write_csv(out, ROWS, every=5)
    names, position = open_file("csv", out.getvalue(), final=True)
    batch = parser("csv", names)(out.getvalue()[position.offset :], position, True)
    assert batch.position == Position(len(out.getvalue()), batch.position.line, ROWS + len(FAULTS), wasted=batch.position.wasted)
    return batch, faults


def job(batch: Batch, **changes: Any) -> dict[str, Any]:
    """Return the job that read a batch."""
    counts = {"total": batch.position.row, "created": len(batch.rows), "failed": batch.failed}
    return {"state": "finished", "counts": counts, "errors": [dict(error) for error in batch.errors], **changes}


def test_every_faulty_row_is_reported_with_its_reason_and_every_flight_is_read(written: tuple[Batch, dict[int, Fault]]) -> None:
    batch, faults = written
    assert list(faults.values()) == list(FAULTS)
    assert check(job(batch), ROWS, faults) == []


def test_a_flight_becomes_an_item(written: tuple[Batch, dict[int, Fault]]) -> None:
    title, description, attributes = written[0].rows[0]
    assert title == "UA1545 EWR-IAH 2013-01-01"
    assert description == "United Air Lines Inc. from Newark Liberty Intl to George Bush Intercontinental"
    assert json.loads(attributes)["air_time"] == 227


def test_the_check_tells_what_is_missing_and_what_is_wrong(written: tuple[Batch, dict[int, Fault]]) -> None:
    batch, faults = written
    assert len(check(job(batch, state="failed"), ROWS, faults)) == 1
    assert len(check(job(batch), ROWS + 1, faults)) == 1
    errors = job(batch)["errors"]
    assert len(check(job(batch, errors=errors[1:]), ROWS, faults)) == 1
    assert len(check(job(batch, errors=[errors[0] | {"row": 1}, *errors[1:]]), ROWS, faults)) == 2
    assert len(check(job(batch, errors=[errors[0] | {"detail": "?"}, *errors[1:]]), ROWS, faults)) == 1
