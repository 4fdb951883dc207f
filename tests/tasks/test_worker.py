"""A real worker on a real Valkey: each task once, whatever is killed of it."""

import json
import os
import signal
from typing import Any, cast

from redis.asyncio import Redis

from tests.tasks.conftest import Outbox, Worker, until


async def test_a_promised_task_runs_once_with_the_context_of_its_request(worker: Worker, promised: Outbox) -> None:
    key = await promised.promise("succeed")
    await promised.until_done()
    (trace,) = promised.traces(key, "done")
    assert trace.split()[2] == "r-1"
    assert await promised.connection.fetchval("SELECT count(*) FROM inbox") == 1
    assert any(line.get("request_id") == "r-1" and line["event"] == "task succeeded" for line in worker.lines)
    assert "Deprecat" not in worker.output


async def test_a_message_that_comes_again_has_no_second_effect(worker: Worker, promised: Outbox, valkey: Redis) -> None:
    key = await promised.promise("sleep", seconds=1)
    await until(lambda: promised.traces(key, "started"))
    (unacknowledged,) = await valkey.hvals("unacked")
    message = json.dumps(json.loads(unacknowledged)[0])
    await valkey.lpush("main-queue", message, message)
    await promised.until_done()
    await valkey.lpush("main-queue", message)

    async def all_taken() -> bool:
        return await valkey.llen("main-queue") == await valkey.hlen("unacked") == 0

    await until(all_taken)
    assert len(promised.traces(key, "started")) == 1


async def test_a_task_whose_process_is_killed_goes_on_in_another(worker: Worker, promised: Outbox) -> None:
    key = await promised.promise("sleep", seconds=60)
    (started,) = await until(lambda: promised.traces(key, "started"))
    os.kill(int(started.split()[0]), signal.SIGKILL)
    await promised.until_done()
    assert len(promised.traces(key, "started")) == 2
    assert len(promised.traces(key, "done")) == 1


async def test_a_broker_that_is_emptied_gets_everything_again(worker: Worker, promised: Outbox, valkey: Redis) -> None:
    keys = [await promised.promise("sleep", seconds=2)]
    await until(lambda: promised.traces(keys[0], "started"))
    keys += [await promised.promise("succeed") for _ in range(5)]
    await until(lambda: valkey.llen("main-queue"))
    await cast("Any", valkey).flushall()
    await promised.until_done()
    assert all(len(promised.traces(key, "done")) == 1 for key in keys)


async def test_a_task_that_always_fails_is_parked(worker: Worker, promised: Outbox) -> None:
    key = await promised.promise("fail")
    row = await until(promised.parked)
    assert len(promised.traces(key, "started")) == 2
    assert row["last_error"] == "ValueError: this never works"


async def test_a_task_that_kills_its_process_each_time_is_parked(worker: Worker, promised: Outbox) -> None:
    key = await promised.promise("die")
    row = await until(promised.parked)
    assert len(promised.traces(key, "started")) == 2
    assert row["last_error"] == "Its worker died each time."
    other = await promised.promise("succeed")
    await until(lambda: promised.traces(other, "done"))
    assert worker.process.poll() is None


async def test_a_task_that_lacks_something_waits_without_losing_a_try(worker: Worker, promised: Outbox) -> None:
    key = await promised.promise("wait_for_others", times=3)
    await promised.until_done()
    assert len(promised.traces(key, "started")) == 4
    assert len(promised.traces(key, "done")) == 1


async def test_a_database_that_drops_every_connection_costs_a_moment_and_no_task(worker: Worker, promised: Outbox) -> None:
    running = await promised.promise("sleep", seconds=2)
    await until(lambda: promised.traces(running, "started"))
    drop = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND application_name = ANY($1)"
    assert await promised.connection.fetchval(drop, ["worker", "relay"]) >= 2
    other = await promised.promise("succeed")
    await promised.until_done()
    assert len(promised.traces(running, "started")) == len(promised.traces(running, "done")) == 1
    assert len(promised.traces(other, "done")) == 1


async def test_a_relay_that_dies_is_replaced(worker: Worker, promised: Outbox) -> None:
    first = await until(worker.relay)
    os.kill(first, signal.SIGKILL)
    key = await promised.promise("succeed")
    await until(lambda: promised.traces(key, "done"))
    assert worker.relay() not in {None, first}
