"""Somebody starts an import and changes their mind."""

from typing import Any, Final

from loadtests.scenarios.visit import API, Visit, csv_part, equals

IMPORT: Final = f"POST {API}/items/imports"
CANCEL: Final = f"POST {API}/jobs/{{job_id}}/cancel"
CALLS: Final = (IMPORT, CANCEL)
ROWS: Final = 400
IS_OVER: Final = 409


def run(visit: Visit) -> None:
    """Import 400 rows and cancel at once. A job that is through already says so, which is right as well."""
    title = visit.name()
    data, header = csv_part(title, ROWS)
    job: Any = visit.ask(IMPORT, expect=202, data=data, headers=header).value
    visit.accepted(job["id"], title, ROWS, cancelled=True)
    visit.ask(CANCEL, f"{API}/jobs/{job['id']}/cancel", tolerate=(IS_OVER,), check=equals(id=job["id"], state="cancelled"))
