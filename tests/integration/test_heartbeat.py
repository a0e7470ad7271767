"""Heartbeats, worker entries and shipped log lines against a real server that may go away."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from deploy.local.nats_server import NatsServer
from services.executor.evidence import LOOK_SECONDS, Others
from shared import nats, topology
from shared.errors import Permanent, Unavailable
from shared.heartbeat import Heartbeat, read_worker, read_workers
from shared.ids import new_id
from shared.log_shipping import BATCH, MAX_WAITING, LogShipper
from shared.logs import LineMaker
from shared.subjects import LOGS, WORKERS, worker
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio
FAST = 0.1
"""Seconds between heartbeats here, so that three of them pass quickly."""


@pytest_asyncio.fixture
async def client(server: NatsServer) -> AsyncIterator[nats.Connection]:
    connection = await nats.connect(server.url, "test")
    await topology.ensure(connection, topology.TopologySettings.model_validate({"NATS_URL": server.url}))
    yield connection
    await connection.close()


def beat(client: nats.Connection, **extra: Any) -> Heartbeat:
    return Heartbeat(client.jetstream(), service="executor", instance=new_id(), interval=FAST, **extra)


async def test_an_entry_says_what_a_worker_is(client: nats.Connection) -> None:
    mine = {"state": "draining", "slots": {"total": 4, "used": 1}, "executions": [{"id": "e", "node": "n"}]}
    async with beat(client, snapshot=lambda: mine) as heartbeat:
        await until(lambda: heartbeat.unbroken_since() is not None)
        [worker] = await read_workers(client)
        seen = await read_worker(client.jetstream(), worker["id"])

    assert worker.items() >= mine.items()
    assert worker["service"] == "executor"
    assert worker["memory_bytes"] > 1_000_000
    assert set(worker) == {
        *("id", "service", "host", "pid", "version", "started_at", "uptime_seconds", "state"),
        *("unbroken_seconds", "memory_bytes", "cpu_percent", "loop_delay_ms", "slots", "executions"),
    }
    assert seen is not None
    assert seen.worker["id"] == worker["id"]
    assert abs(seen.time.timestamp() - time.time()) < 5


async def test_a_clean_end_takes_the_entry_away_at_once(client: nats.Connection) -> None:
    js = client.jetstream()
    async with beat(client) as heartbeat:
        await until(lambda: heartbeat.unbroken_since() is not None)
        [worker] = await read_workers(client)
    assert await read_workers(client) == []
    assert await read_worker(js, worker["id"]) is None
    assert await read_worker(js, new_id()) is None


async def test_many_entries_are_read_in_order(client: nats.Connection) -> None:
    js = client.jetstream()
    ids = [new_id() for _ in range(600)]
    for instance in ids:
        await js.publish(worker("executor", instance), json.dumps({"id": instance}).encode())
    assert [entry["id"] for entry in await read_workers(client)] == ids


async def test_a_poke_beats_before_the_interval_is_over(client: nats.Connection) -> None:
    state = "ready"
    js, instance = client.jetstream(), new_id()
    slow = Heartbeat(
        js, service="executor", instance=instance, interval=60, snapshot=lambda: {"state": state}
    )
    async with slow:
        await until(lambda: slow.unbroken_since() is not None)
        state = "draining"
        slow.poke()
        async with asyncio.timeout(5):
            while (seen := await read_worker(js, instance)) is None or seen.worker["state"] != "draining":  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.mark.fault
async def test_a_run_of_heartbeats_is_unbroken_until_the_server_goes_away(
    client: nats.Connection, server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with beat(client) as heartbeat:
        await until(lambda: heartbeat.unbroken_since() is not None)
        first = heartbeat.unbroken_since()
        await asyncio.sleep(5 * FAST)
        assert heartbeat.unbroken_since() == first

        server.kill()
        await until(lambda: heartbeat.unbroken_since() is None)
        with pytest.raises(Unavailable):
            await read_worker(client.jetstream(), "x")
        back_at = time.monotonic()
        server.start()
        await topology_again(client, server)
        await until(lambda: heartbeat.unbroken_since() is not None)
        since = heartbeat.unbroken_since()

    assert since is not None
    assert since > back_at
    told = [text for record in caplog.records if "heartbeat" in (text := record.getMessage())]
    assert [text.split(":")[0] for text in told] == [
        "heartbeat not accepted",
        "heartbeats are accepted again",
    ]


async def topology_again(client: nats.Connection, server: NatsServer) -> None:
    await until(lambda: client.is_connected)
    await topology.ensure(client, topology.TopologySettings.model_validate({"NATS_URL": server.url}))


@pytest.mark.fault
async def test_who_has_just_begun_relies_on_whom_it_watches(
    client: nats.Connection, server: NatsServer
) -> None:
    """One look is not enough: what it finds may have been sent late."""
    others = Others(client)
    async with beat(client) as old:
        await until(lambda: (old.current()["unbroken_seconds"] or 0) > 0.5)
        assert await others.unbroken() is None
        await asyncio.sleep(LOOK_SECONDS)
        assert (await others.unbroken() or 0) > 0.5

        server.kill()
        await until(lambda: old.unbroken_since() is None)
        back_at = time.monotonic()
        server.start()
        await topology_again(client, server)
        await asyncio.sleep(LOOK_SECONDS)
        assert (await others.unbroken() or 0) <= time.monotonic() - back_at


async def test_a_blocked_event_loop_breaks_the_run_and_is_measured(client: nats.Connection) -> None:
    async with beat(client) as heartbeat:
        await until(lambda: heartbeat.unbroken_since() is not None)
        first = heartbeat.unbroken_since()
        time.sleep(5 * FAST)  # noqa: ASYNC251 - blocking is what is tested
        assert heartbeat.unbroken_since() is None
        await until(lambda: heartbeat.unbroken_since() is not None)
        assert heartbeat.unbroken_since() != first
        delays = heartbeat.current()["loop_delay_ms"]
    assert delays > 200


async def test_without_the_bucket_it_fails_loudly(server: NatsServer) -> None:
    connection = await nats.connect(server.url, "test")
    with pytest.raises(Permanent, match=WORKERS):
        async with beat(connection):
            pass
    await connection.close()


@asynccontextmanager
async def shipping(client: nats.Connection) -> AsyncIterator[LineMaker]:
    maker = LineMaker("executor", "instance-1", lambda line: None)
    maker.emit("info", "before", None, {})
    async with LogShipper(client, maker, "executor", "instance-1"):
        yield maker


async def stored(client: nats.Connection) -> list[dict[str, Any]]:
    js = client.jetstream()
    count = (await js.stream_info(LOGS)).state.messages
    return [json.loads((await js.get_msg(LOGS, seq + 1)).data or b"") for seq in range(count)]


async def stored_at_least(client: nats.Connection, count: int) -> None:
    async with asyncio.timeout(20):
        while (await client.jetstream().stream_info(LOGS)).state.messages < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_every_line_becomes_a_message_in_order(client: nats.Connection) -> None:
    async with shipping(client) as maker:
        for number in range(2 * BATCH + 7):
            maker.emit("info", "line", None, {"number": number})
        await asyncio.to_thread(maker.emit, "info", "from a thread", None, {})
    before, *lines, last = await stored(client)
    assert before["message"] == "before"
    assert [line["number"] for line in lines] == list(range(2 * BATCH + 7))
    assert last["message"] == "from a thread"


async def test_lines_of_an_outage_arrive_afterwards(client: nats.Connection, server: NatsServer) -> None:
    async with shipping(client) as maker:
        await stored_at_least(client, 1)
        server.stop()
        await until(lambda: not client.is_connected)
        for number in range(300):
            maker.emit("info", "line", None, {"number": number})
        server.start()
        await until(lambda: client.is_connected)
    lines = await stored(client)
    assert [line["number"] for line in lines if line["message"] == "line"] == list(range(300))


@pytest.mark.fault
async def test_what_did_not_fit_is_counted_where_it_is_missing(client: nats.Connection) -> None:
    async with shipping(client) as maker:
        for number in range(MAX_WAITING + 50):  # without a pause: nothing is sent meanwhile
            maker.emit("info", "line", None, {"number": number})
        await stored_at_least(client, BATCH)
        maker.emit("info", "after", None, {})
        await stored_at_least(client, MAX_WAITING + 2)
    *_, gap, after = await stored(client)
    assert (gap["message"], gap["dropped"]) == ("log lines dropped", 51)
    assert after["message"] == "after"


async def test_a_first_connection_that_nobody_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats, "FIRST_CONNECT_SECONDS", 0.5)
    with pytest.raises(Unavailable, match="within"):
        await nats.connect("nats://127.0.0.1:1", "test")


async def test_wrong_credentials_are_named_and_a_url_that_makes_no_sense_too(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats, "FIRST_CONNECT_SECONDS", 0.5)
    with pytest.raises(Unavailable, match="Authorization Violation"):
        await nats.connect(f"nats://a:b@127.0.0.1:{server.ports.client}", "test")
    with pytest.raises(Permanent, match="url"):
        await nats.connect("nats://:nonsense", "test")


async def test_a_connection_that_the_server_closes_for_good_is_told_once(server: NatsServer) -> None:
    told: list[str] = []
    connection = await nats.connect(server.url, "test", told.append)
    await connection.publish(
        "x", b"x" * 1_048_576, headers={"a": "b"}
    )  # over the server's limit with its header
    await until(lambda: bool(told))
    assert connection.is_closed
    assert told == ["the connection to NATS was closed"]


async def test_closing_on_purpose_is_not_told(server: NatsServer) -> None:
    told: list[str] = []
    for end in ("close", "drain"):
        connection = await nats.connect(server.url, "test", told.append)
        await getattr(connection, end)()
    assert told == []
