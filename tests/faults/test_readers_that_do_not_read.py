"""Slow, stalled and silent readers: what each may cost the gateway is bounded, and nothing of it is left behind."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest

from shared import deltas, ending, subjects
from shared import events as ev
from shared.artifacts import Artifacts
from shared.deltas import Delta
from tests.support import make
from tests.support.gateway import Database, running_database
from tests.support.live_field import Field, playing

SEND_SECONDS = 3
READERS = 200
TEXT = 4_000_000
"""Characters of the largest text: with a copy for each reader the gateway would need 800 MB for it."""
EACH = 400_000
"""Bytes that a stalled reader may cost: what waits for it, and its tasks."""
ENGINE = {
    "id": "unread",
    "name": "Unread",
    "inputs": {},
    "nodes": [{"id": "text", "kind": "generate", "model": make.MODEL, "prompt": "x"}],
    "output": "text",
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with running_database(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture
async def field(tmp_path_factory: pytest.TempPathFactory, database: Database) -> AsyncIterator[Field]:
    settings = {"LEKHIKA_STREAM_SEND_SECONDS": str(SEND_SECONDS)}
    async with playing(tmp_path_factory.mktemp("field"), database, **settings) as made:
        yield made


async def append(field: Field, key: str, *events: ev.AnyEvent) -> None:
    for event in events:
        state = await field.world.state(key)
        await field.world.log.append(key, event, state.last_seq)


async def written(field: Field, length: int) -> str:
    """An execution with one large text."""
    key = await field.start(ENGINE)
    output = await Artifacts(field.world.nc).put_text(key, "x" * length)
    completed = make.node_completed("text").model_copy(update={"output": output})
    await append(field, key, make.started(instance="pen"), make.node_started("text"), completed)
    return key


def reader(field: Field, key: str) -> socket.socket:
    """Has asked for the stream, and has not read a byte of it."""
    host, port = field.gateways[0].url.removeprefix("http://").split(":")
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.connect((host, int(port)))
    head = f"GET /v1/executions/{key}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {field.person.key}\r\n\r\n"
    opened.sendall(head.encode())
    return opened


@contextlib.contextmanager
def readers(field: Field, key: str, count: int) -> Iterator[list[socket.socket]]:
    opened = [reader(field, key) for _ in range(count)]
    try:
        yield opened
    finally:
        for each in opened:
            each.close()


async def until(field: Field, name: str, fact: Callable[[float], bool]) -> int:
    """Waits for a metric; gives the most memory that was seen meanwhile."""
    most = 0
    async with asyncio.timeout(120):
        while not fact(await field.gateways[0].metric(name)):
            most = max(most, field.gateways[0].resident())
            await asyncio.sleep(0.05)
    return most


async def subscriptions(field: Field) -> int:
    async with httpx.AsyncClient(base_url=field.world.server.monitor_url) as client:
        return int((await client.get("/subsz")).json()["num_subscriptions"])


async def warm(field: Field, key: str) -> None:
    """What is imported and allocated at first use is there."""
    async with field.client() as client:
        for _ in range(3):
            async with client.stream("GET", f"/v1/executions/{key}/events") as answer:
                async for line in answer.aiter_lines():
                    if line.startswith("event: delta"):
                        break


async def test_who_stalls_over_a_large_text_is_cut_and_costs_no_copy_of_it(field: Field) -> None:
    key = await written(field, TEXT)
    await warm(field, key)
    before, subscribed = field.gateways[0].resident(), await subscriptions(field)
    with readers(field, key, READERS):
        most = await until(field, "lekhika_sse_dropped_total", lambda dropped: dropped >= READERS)
        assert most - before < READERS * EACH
        await until(field, "lekhika_live_viewers", lambda viewers: viewers == 0)
    assert await subscriptions(field) <= subscribed


async def test_who_reads_slower_than_it_is_written_is_cut_before_much_waits_for_him(field: Field) -> None:
    key = await field.start(ENGINE)
    await append(field, key, make.started(instance="pen"), make.node_started("text"))
    before = field.gateways[0].resident()
    with readers(field, key, 50):
        await until(field, "lekhika_live_viewers", lambda viewers: viewers == 50)
        dropped = asyncio.ensure_future(
            until(field, "lekhika_sse_dropped_total", lambda dropped: dropped >= 50)
        )
        offset = 0
        while not dropped.done():
            piece = Delta(attempt=1, node="text", node_attempt=1, offset=offset, text="x" * 20_000)
            offset += 20_000
            await field.world.nc.publish(subjects.deltas(key), deltas.encode(piece))
            await asyncio.sleep(0.01)
        assert await dropped - before < 50 * 4_000_000
    state = await field.world.state(key)
    await append(field, key, ending.failed(state, ev.ErrorInfo(code="x", message="y"), []))


async def test_who_is_silent_and_never_leaves_costs_little_and_sees_the_end(field: Field) -> None:
    key = await field.start(ENGINE)
    await append(field, key, make.started(instance="pen"), make.node_started("text"))
    before = field.gateways[0].resident()
    with readers(field, key, READERS) as opened:
        await until(field, "lekhika_live_viewers", lambda viewers: viewers == READERS)
        assert field.gateways[0].resident() - before < READERS * EACH
        await append(field, key, make.node_completed("text", "the text"))
        await append(field, key, ending.completed(await field.world.state(key), "text"))
        await until(field, "lekhika_live_viewers", lambda viewers: viewers == 0)
        for each in opened:
            each.settimeout(20)
            told = b""
            while b"event: end" not in told:
                told += each.recv(65536)
            assert b"the text" in told
