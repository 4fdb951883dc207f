"""Somebody imports a file and waits for the event that says it is done."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from loadtests.scenarios.visit import API, Visit, csv_part, equals, lists

TICKET: Final = f"POST {API}/ws/tickets"
ANNOUNCE: Final = f"POST {API}/items/imports/uploads"
IMPORT: Final = f"POST {API}/items/imports"
READ: Final = f"GET {API}/jobs/{{job_id}}"
LIST: Final = f"GET {API}/jobs/"
CALLS: Final = (TICKET, ANNOUNCE, IMPORT, READ, LIST)
FLOWS: Final = ("import",)
ROWS: Final = 100
PATIENCE_SECONDS: Final = 30
UPLOAD: Final = {"filename": "rows.csv", "content_type": "text/csv", "size": 4, "checksum_sha256": "0" * 64}


def run(visit: Visit) -> None:
    """Announce an upload, import 100 rows, wait for `job.finished`, look at the job."""
    ticket: Any = visit.ask(TICKET, expect=201).value["ticket"]
    frames = visit.listen(ticket)
    try:
        visit.ask(ANNOUNCE, expect=201, json=UPLOAD, check=lambda value: None if value["upload"]["url"] else "no place to upload to")
        title = visit.name()
        data, header = csv_part(title, ROWS)
        visit.begin_flow("import")
        job: Any = visit.ask(IMPORT, expect=202, data=data, headers={**header, "Idempotency-Key": uuid4().hex}).value
        visit.accepted(job["id"], title, ROWS)

        def over(frame: Mapping[str, Any]) -> bool:
            return frame["type"] in {"job.finished", "job.failed"} and frame["data"]["id"] == job["id"]

        ended = frames.wait_for(over, PATIENCE_SECONDS)
        made = ended["data"]["counts"]["created"]
        visit.end_flow("import", None if (ended["type"], made) == ("job.finished", ROWS) else f"{ended['type']} with {made} items")
        visit.ask(READ, f"{API}/jobs/{job['id']}", check=equals(id=job["id"], state="finished", progress=ROWS))
        visit.ask(LIST, f"{API}/jobs/?limit=10", check=lists(lambda each: each["kind"] == "import", least=1))
    finally:
        frames.close()
