"""Workers that are killed, stopped or deaf, and a Valkey that dies under one: another goes on."""

import signal
from typing import Any, cast

from redis.asyncio import Redis

from tests.tasks.conftest import Broker, Outbox, StartWorker, exists, until


async def test_tasks_of_a_worker_killed_with_all_its_processes_go_on_in_another_worker(start_worker: StartWorker, promised: Outbox) -> None:
    first, second = start_worker(), start_worker()
    await first.ready()
    await second.ready()
    running = await promised.promise("sleep", seconds=60)
    (started,) = await until(lambda: promised.traces(running, "started"))
    waiting = await promised.promise("succeed")
    its_worker = int(started.split()[1])
    victim = first if first.process.pid == its_worker else second
    relay = await until(victim.relay)
    victim.process.kill()
    await promised.until_done(seconds=30)
    assert len(promised.traces(running, "started")) == 2
    assert len(promised.traces(running, "done")) == len(promised.traces(waiting, "done")) == 1
    await until(lambda: not exists(relay), seconds=10)


async def test_nothing_is_lost_and_nothing_done_twice_when_the_broker_dies_and_forgets(
    start_worker: StartWorker, promised: Outbox, broker: Broker, redis: Redis
) -> None:
    worker = await start_worker().ready()
    keys = [await promised.promise("sleep", seconds=3)]
    await until(lambda: promised.traces(keys[0], "started"))
    keys += [await promised.promise("succeed") for _ in range(20)]
    await until(lambda: redis.llen("main-queue"))
    broker.kill()
    before = worker.heartbeat.stat().st_mtime
    keys.append(await promised.promise("succeed"))
    await until(lambda: worker.heartbeat.stat().st_mtime > before + 1)  # it waits, and that is no reason to replace it
    await broker.start()
    await promised.until_done(seconds=30)
    assert all(len(promised.traces(key, "done")) == 1 for key in keys)
    assert len(promised.traces(keys[0], "started")) == 1
    assert worker.process.poll() is None


async def test_a_worker_told_to_stop_finishes_what_is_short_and_gives_back_what_is_long(
    start_worker: StartWorker, promised: Outbox
) -> None:
    worker = await start_worker("--concurrency", "2").ready()
    long, short = await promised.promise("sleep", seconds=60), await promised.promise("sleep", seconds=1)
    await until(lambda: promised.traces(long, "started") and promised.traces(short, "started"))
    relay = await until(worker.relay)
    worker.process.terminate()
    await worker.ended(seconds=30)
    assert len(promised.traces(short, "started")) == len(promised.traces(short, "done")) == 1
    assert not promised.traces(long, "done")
    (row,) = await promised.rows()
    assert row["heartbeat_at"] is None
    assert row["published_at"] is None
    assert (row["claims"], row["attempts"]) == (1, 0)
    assert not exists(relay)
    assert not worker.heartbeat.exists()


async def test_a_worker_that_no_longer_consumes_ends_itself(start_worker: StartWorker, promised: Outbox, redis: Redis) -> None:
    worker = await start_worker().ready()
    worker.process.send_signal(signal.SIGUSR2)

    async def deaf() -> bool:
        return all("b" not in client["flags"] for client in await cast("Any", redis).client_list())

    await until(deaf)
    await promised.promise("succeed")
    assert await worker.ended() != 0
    assert "this worker ends, to be replaced" in worker.output
