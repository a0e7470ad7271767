"""The contract of the log, for the real one and for the one that stands in for it in unit tests."""

import asyncio
from collections.abc import AsyncIterator

import nats
import pytest
from nats.aio.client import Client

from deploy.local.nats_server import NatsServer
from shared import subjects, topology
from shared.errors import Conflict, Permanent
from shared.events import ExecutionStopped, StopRequested
from shared.ids import new_id
from shared.log import ExecutionLog, Log
from shared.messages import MESSAGE_ID
from tests.support.make import node_completed, node_started, requested, started
from tests.support.memory_log import MemoryLog


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    nc = await nats.connect(server.url)
    await topology.ensure(nc, topology.TopologySettings(NATS_URL=server.url))
    yield nc
    await nc.close()
    server.stop()


@pytest.fixture(params=["memory", "jetstream"])
def log(request: pytest.FixtureRequest, client: Client) -> Log:
    return MemoryLog() if request.param == "memory" else ExecutionLog(client)


async def test_what_was_appended_is_read_back_in_order(log: Log) -> None:
    key = new_id()
    first = await log.append(key, requested(), 0)
    second = await log.append(key, started(), first)
    found = await log.load(key)
    assert [(r.seq, r.after, r.event.type) for r in found] == [
        (first, 0, "requested"),
        (second, first, "started"),
    ]
    assert found[1].event == started()


async def test_load_after_a_sequence_gives_only_what_is_newer(log: Log) -> None:
    key = new_id()
    first = await log.append(key, requested(), 0)
    assert await log.load(key, first) == []
    second = await log.append(key, started(), first)
    third = await log.append(key, node_started("a"), second)
    assert [r.seq for r in await log.load(key, first)] == [second, third]


async def test_nothing_is_there_before_the_first_append(log: Log) -> None:
    assert await log.load(new_id()) == []


async def test_a_stale_append_is_refused_and_stores_nothing(log: Log) -> None:
    key = new_id()
    first = await log.append(key, requested(), 0)
    await log.append(key, started(instance="winner"), first)
    with pytest.raises(Conflict):
        await log.append(key, started(instance="loser"), first)
    assert len(await log.load(key)) == 2


async def test_only_one_of_fifty_claims_at_once_wins(log: Log) -> None:
    key = new_id()
    first = await log.append(key, requested(), 0)

    async def claim(number: int) -> bool:
        try:
            await log.append(key, started(instance=str(number)), first)
        except Conflict:
            return False
        return True

    assert sum(await asyncio.gather(*(claim(n) for n in range(50)))) == 1


async def test_a_stop_and_a_start_at_once_have_one_winner(log: Log) -> None:
    key = new_id()
    first = await log.append(key, requested(), 0)
    results = await asyncio.gather(
        log.append(key, started(), first),
        log.append(key, StopRequested(by="u"), first),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Conflict) for result in results) == 1


async def test_repeating_an_append_with_its_message_id_finds_its_own_event(log: Log) -> None:
    key, decision = new_id(), new_id()
    first = await log.append(key, requested(), 0)
    stored = await log.append(key, started(), first, message_id=decision)
    await log.append(key, node_started("a"), stored)  # somebody went on meanwhile
    assert await log.append(key, started(), first, message_id=decision) == stored
    assert len(await log.load(key)) == 3


async def test_executions_do_not_disturb_each_other(log: Log) -> None:
    one, other = new_id(), new_id()
    first = await log.append(one, requested(), 0)
    await log.append(other, requested(), 0)
    await log.append(one, started(), first)
    assert [r.event.type for r in await log.load(other)] == ["requested"]


async def test_an_event_over_the_size_limit_is_refused_before_it_is_sent(client: Client) -> None:
    with pytest.raises(Permanent, match="bytes"):
        await ExecutionLog(client).append(new_id(), node_completed("a", "x" * 140_000), 0)
    assert client.is_connected


async def test_a_long_history_is_read_whole(client: Client) -> None:
    log, key = ExecutionLog(client), new_id()
    last = await log.append(key, requested(), 0)
    for number in range(600):
        last = await log.append(key, node_started(f"n/{number}"), last)
    assert len(await log.load(key)) == 601


async def test_a_follower_hears_each_event_once_and_in_order(client: Client) -> None:
    log, key = ExecutionLog(client), new_id()
    async with log.follow(key) as follower:
        last = await log.append(key, requested(), 0)
        last = await log.append(key, started(), last)
        await log.append(key, node_started("a"), last)
        heard = [event.event.type for _ in range(3) for event in await follower.next()]
    assert heard == ["requested", "started", "node_started"]


async def test_a_follower_fetches_what_no_copy_announced(client: Client) -> None:
    log, key = ExecutionLog(client), new_id()
    first = await log.append(key, requested(), 0)
    second = await log.append(key, started(), first)
    async with log.follow(key) as follower:
        follower.position = first  # as if the copy of the second event had been lost
        await log.append(key, node_started("a"), second)
        assert [event.event.type for event in await follower.next()] == ["started", "node_started"]


async def test_latest_answers_the_newest_of_each_subject_in_one_request(client: Client) -> None:
    log, key = ExecutionLog(client), new_id()
    first = await log.append(key, requested(), 0)
    await log.append(key, StopRequested(by="u"), first)
    wanted = [subjects.event_subject(key, kind) for kind in ("stop_requested", "stopped")]
    assert [r.event.type for r in await log.latest(wanted)] == ["stop_requested"]
    assert await log.latest([subjects.event_subject(new_id(), "stopped")]) == []


async def test_topology_is_idempotent_and_nothing_is_missing(client: Client) -> None:
    await topology.ensure(client, topology.TopologySettings(NATS_URL="unused"))
    assert await topology.missing(client) == []


def test_terminal_types_are_what_analytics_consumes() -> None:
    assert ExecutionStopped.model_fields["type"].default in ("completed", "stopped", "failed")
    assert MESSAGE_ID == "Nats-Msg-Id"
