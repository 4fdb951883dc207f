"""The server as production runs it: gunicorn and its workers, from start to end."""

import asyncio
import json
import signal

import httpx
import psutil

from tests.api.http.conftest import COMMAND, Gunicorn, StartGunicorn, until
from tests.servers import REPOSITORY

HEAD = b"POST /api/v1/auth/refresh HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 26\r\n\r\n"
BODY = b'{"refresh_token": "......"'  # cut off, so that the answer needs no database


async def nobody_listens(port: int) -> bool:
    """Tell whether a connection is refused."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_a_stop_signal_turns_readiness_off_answers_what_is_under_way_and_ends_with_a_clean_log(start_gunicorn: StartGunicorn) -> None:
    gunicorn: Gunicorn = await start_gunicorn(DRAIN_SECONDS="1", LOG_LEVEL="INFO")
    async with gunicorn.service.connect() as wire, httpx.AsyncClient(base_url=gunicorn.service.url) as client:

        async def refused_readiness() -> httpx.Response | None:
            response = await client.get("/health/ready")
            return None if response.is_success else response

        await wire.say(HEAD + BODY[:10])
        gunicorn.process.send_signal(signal.SIGTERM)
        refused = await until(refused_readiness)
        answered = await client.get("/health/live")
        await until(lambda: nobody_listens(gunicorn.service.port))
        last = await wire.ask(BODY[10:])
        assert await wire.rest() == b""
    assert await gunicorn.ended() == 0
    assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
    assert (answered.status_code, answered.headers["connection"]) == (200, "close")
    assert last.status == 400
    lines = [json.loads(line) for line in gunicorn.log.read_bytes().splitlines()]
    assert any(line["event"].startswith("Listening at") for line in lines)
    assert any(line["event"] == "request" and line["path"] == "/health/live" for line in lines)
    assert not [line for line in lines if line["level"] in {"error", "critical"}]


async def test_a_killed_worker_is_replaced_and_an_interrupt_ends_every_process(start_gunicorn: StartGunicorn) -> None:
    gunicorn: Gunicorn = await start_gunicorn()
    master = psutil.Process(gunicorn.process.pid)
    (worker,) = master.children()
    worker.kill()

    async def is_ready() -> bool:
        async with httpx.AsyncClient(base_url=gunicorn.service.url) as client:
            try:
                return (await client.get("/health/ready")).is_success
            except httpx.TransportError:
                return False

    await until(is_ready)
    (replacement,) = master.children()
    gunicorn.process.send_signal(signal.SIGINT)
    assert await gunicorn.ended() == 0
    assert not replacement.is_running()


async def test_workers_end_when_their_master_was_killed(start_gunicorn: StartGunicorn) -> None:
    gunicorn: Gunicorn = await start_gunicorn()
    workers = psutil.Process(gunicorn.process.pid).children()
    gunicorn.process.kill()
    await gunicorn.ended()
    try:
        await until(lambda: not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers))
    finally:
        for worker in workers:
            if worker.is_running():
                worker.kill()


async def test_a_worker_that_cannot_start_ends_the_service(environment: dict[str, str]) -> None:
    command = [*COMMAND[:-1], "app.main:no_such_factory()"]
    given = environment | {"PORT": "0"}
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, env=given, stdout=-1, stderr=-2)
    output, _ = await process.communicate()
    assert process.returncode == 4
    assert b"no_such_factory" in output
