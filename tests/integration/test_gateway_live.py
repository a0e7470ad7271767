"""The live view over HTTP: from the first byte to the end, through cuts, losses and shutdowns."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from deploy.local.nats_server import NatsServer
from services.gateway import stream as streams
from shared import conventions, ending
from shared.artifacts import INLINE_BYTES
from shared.events import Recorded, TextRef
from tests.support.gateway import SECONDS, Database, Gateway, Player, running_gateway, watching
from tests.support.waiting import until

GOOD = {"engine": "book", "input": {"topic": "Tea"}}


@pytest.fixture
async def player(ada: httpx.AsyncClient, gateway: Gateway) -> Player:
    """The executor of an execution of Ada's, which has begun with its outline."""
    answer = await ada.post("/v1/executions", json=GOOD)
    found = Player(gateway.parts, answer.json()["id"])
    await found.claim()
    await found.begin("outline")
    return found


@pytest.fixture
async def other(nats_server: NatsServer, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """Ada at another gateway over the same log."""
    async with (
        running_gateway(nats_server, database) as gateway,
        gateway.client(database.people["ada"]) as client,
    ):
        yield client


async def test_it_is_watched_from_beginning_to_end(ada: httpx.AsyncClient, player: Player) -> None:
    async with watching(ada, player.id) as stream:
        name, snapshot = await stream.next()
        assert (name, snapshot["status"]) == ("snapshot", "running")
        await player.say("outline", 0, "Tea, ")
        await stream.text("outline", "Tea, ")
        await player.say("outline", 5, "twice 🍵")
        await stream.text("outline", "Tea, twice 🍵")
        await player.complete("outline", "Tea, twice 🍵")
        await player.begin("text", kind="template", model=None)
        await player.complete("text", "A book")
        await player.finish()
        end = await stream.until("end")
        await stream.closed()
    assert end["status"] == "completed"
    assert end["output"] == f"/v1/executions/{player.id}/output"
    assert end["execution"] == (await ada.get(f"/v1/executions/{player.id}")).json()
    assert stream.texts == {"outline": (1, "Tea, twice 🍵"), "text": (1, "A book")}
    assert stream.response.headers["x-accel-buffering"] == "no"


async def test_what_was_shown_of_the_history_is_let_go(ada: httpx.AsyncClient, player: Player) -> None:
    def held() -> list[Recorded]:
        gc.collect()
        return [r for r in gc.get_objects() if type(r) is Recorded and r.execution_id == player.id]

    await player.complete("outline", "Tea")
    await player.begin("parts/0")
    async with watching(ada, player.id) as stream, asyncio.timeout(SECONDS):
        await stream.text("outline", "Tea")
        await player.say("parts/0", 0, "First")
        await stream.text("parts/0", "First")
        while held():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
    await player.finish("outline")  # other tests count Ada's open executions


async def test_who_comes_late_sees_all_of_it(ada: httpx.AsyncClient, player: Player) -> None:
    await player.complete("outline", "x" * (INLINE_BYTES + 1))
    await player.begin("parts/0")
    await player.say("parts/0", 0, "First, ")
    await player.say("parts/0", 7, "second")
    async with watching(ada, player.id) as stream:
        await stream.text("parts/0", "First, second")
        assert len(stream.texts["outline"][1]) == INLINE_BYTES + 1


async def test_a_cut_viewer_goes_on_at_another_gateway(
    ada: httpx.AsyncClient, other: httpx.AsyncClient, player: Player
) -> None:
    async with watching(ada, player.id) as stream:
        await player.say("outline", 0, "Hot ")
        await stream.text("outline", "Hot ")
    await player.say("outline", 4, "tea")
    async with watching(other, player.id, stream.last_id) as resumed:
        resumed.texts = dict(stream.texts)
        await resumed.text("outline", "Hot tea")
        assert [data["text"] for name, data in resumed.events if name == "delta"] == ["tea"]
        await player.complete("outline", "Hot tea")
        state = await player.state()
        await player.append(ending.stopped(state, by="x", reason=None, at=state.last_at))
        await resumed.until("end")
    url = f"/v1/executions/{player.id}/events"
    again = await ada.get(url, params={"after": resumed.last_id})
    assert "event: snapshot" in again.text
    assert "event: end" in again.text
    assert "event: delta" not in again.text


async def test_a_piece_that_was_lost_on_the_way_is_looked_for(
    ada: httpx.AsyncClient, gateway: Gateway, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "REPAIR_SECONDS", 0.0)
    heard = streams.Inbox.hear_delta

    async def deaf(self: streams.Inbox, msg: Any) -> None:
        if b"lost" not in msg.data:
            await heard(self, msg)

    monkeypatch.setattr(streams.Inbox, "hear_delta", deaf)
    async with watching(ada, player.id) as stream:
        await stream.until("snapshot")
        await player.say("outline", 0, "lost ")
        await player.say("outline", 5, "and found")
        await stream.text("outline", "lost and found")


async def test_a_lost_piece_is_looked_for_although_nothing_more_comes(
    ada: httpx.AsyncClient, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "REPAIR_SECONDS", 1.0)
    heard = streams.Inbox.hear_delta

    async def deaf(self: streams.Inbox, msg: Any) -> None:
        if b"lost" not in msg.data:
            await heard(self, msg)

    monkeypatch.setattr(streams.Inbox, "hear_delta", deaf)
    async with watching(ada, player.id) as stream:
        await stream.until("snapshot")
        await player.say("outline", 0, "lost ")
        await player.say("outline", 5, "and found")
        await stream.text("outline", "lost and found")
    await player.complete("outline", "lost and found")
    await player.finish("outline")  # other tests count Ada's open executions


async def test_an_event_that_no_copy_announced_is_found(
    ada: httpx.AsyncClient, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf(*_: object) -> None:
        return

    monkeypatch.setattr("shared.log.Follower.hear", deaf)
    async with watching(ada, player.id) as stream:
        await stream.until("snapshot")
        await player.complete("outline", "Tea")
        await stream.text("outline", "Tea")


async def test_a_stop_is_seen_as_it_happens(ada: httpx.AsyncClient, player: Player) -> None:
    async with watching(ada, player.id) as stream:
        await stream.until("snapshot")
        await player.say("outline", 0, "Half a")
        await ada.post(f"/v1/executions/{player.id}/stop", json={"reason": "Enough"})
        state = await stream.until("state")
        assert (state["status"], state["stop"]["reason"]) == ("stopping", "Enough")
        now = await player.state()
        text = await _text(player, "Half a line")
        call = ending.OpenCall(node="outline", node_attempt=1, text=text, usage=())
        await player.append(ending.stopped(now, by="x", reason=None, at=now.last_at, open_calls=[call]))
        end = await stream.until("end")
    assert end["status"] == "stopped"
    assert stream.texts == {"outline": (1, "Half a line")}
    assert stream.names[-3:] == ["node", "state", "end"]


async def _text(player: Player, text: str) -> Any:
    return TextRef(text=text, characters=len(text))


async def test_a_queued_one_that_is_stopped_ends_its_streams(ada: httpx.AsyncClient) -> None:
    execution = (await ada.post("/v1/executions", json=GOOD)).json()
    async with watching(ada, execution["id"]) as stream:
        await stream.until("snapshot")
        await ada.post(f"/v1/executions/{execution['id']}/stop")
        assert (await stream.until("end"))["status"] == "stopped"
        await stream.closed()


async def test_fifty_streams_end_politely_at_a_shutdown(
    nats_server: NatsServer, database: Database, player: Player
) -> None:
    async with (
        running_gateway(nats_server, database) as gateway,
        gateway.client(database.people["ada"]) as client,
        asyncio.TaskGroup() as group,
    ):
        opened = asyncio.Semaphore(0)

        async def watch() -> None:
            async with watching(client, player.id) as stream:
                await stream.until("snapshot")
                opened.release()
                await stream.closed()

        tasks = [group.create_task(watch()) for _ in range(50)]
        async with asyncio.timeout(SECONDS):
            for _ in tasks:
                await opened.acquire()
            gateway.stop.set()
            await asyncio.wait(tasks)


async def test_who_does_not_read_is_cut_and_can_go_on(
    gateway: Gateway, database: Database, player: Player
) -> None:
    """The stream's time-out is one second in these tests."""
    before = conventions.SSE_DROPPED._value.get()
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, port = gateway.url.removeprefix("http://").split(":")
    reader.connect((host, int(port)))
    key = database.people["ada"].key
    reader.sendall(
        f"GET /v1/executions/{player.id}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    )
    await player.complete("outline", "x" * 15_000_000)
    await until(lambda: conventions.SSE_DROPPED._value.get() > before)
    reader.close()


async def test_nothing_is_left_behind_by_viewers(
    ada: httpx.AsyncClient, gateway: Gateway, player: Player
) -> None:
    before = len(gateway.parts.nc._subs)
    for _ in range(5):
        async with watching(ada, player.id) as stream:
            await stream.until("snapshot")
    await until(lambda: len(gateway.parts.nc._subs) <= before)
