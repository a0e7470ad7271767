"""What still works while a server is away, and how the rest is refused."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from nats.errors import FlushTimeoutError

from deploy.local.nats_server import NatsServer
from services.gateway import lanes
from shared import log as execution_log
from shared import subjects, topology
from shared.artifacts import ArtifactGone
from shared.errors import Permanent, UnknownEvent
from shared.ids import new_id
from shared.messages import GUARD, GUARD_SUBJECT
from shared.nats import connect
from shared.subjects import EXECUTIONS
from tests.support.gateway import (
    SECONDS,
    Database,
    Gateway,
    Person,
    Player,
    add_person,
    running_database,
    running_gateway,
    watching,
)
from tests.support.identity import PASSWORD, add_member, logged_in

GOOD = {"engine": "book", "input": {"topic": "Tea"}}


@pytest.fixture
async def own_nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    server = NatsServer(tmp_path / "nats")
    server.start()
    nc = await connect(server.url, "test")
    await topology.ensure(nc, topology.TopologySettings(NATS_URL=server.url, executions_max_bytes=8 << 20))
    await nc.close()
    yield server
    server.stop()


async def begun(client: httpx.AsyncClient, gateway: Gateway) -> Player:
    answer = await client.post("/v1/executions", json=GOOD)
    assert answer.status_code == 202, answer.text
    player = Player(gateway.parts, answer.json()["id"])
    await player.claim()
    await player.begin("outline")
    return player


@pytest.mark.fault
async def test_without_postgres_callers_that_are_known_start_watch_and_stop(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    with running_database(tmp_path / "postgres") as database:
        member = add_member(database)
        async with (
            running_gateway(nats_server, database) as gateway,
            gateway.client(database.people["ada"]) as ada,
            logged_in(gateway, member) as session,
        ):
            await begun(ada, gateway)
            mine = await begun(session, gateway)
            database.server.kill()
            player = await begun(ada, gateway)
            async with watching(ada, player.id) as stream:
                await player.say("outline", 0, "Tea")
                await stream.text("outline", "Tea")
            assert (await ada.get(f"/v1/executions/{player.id}")).json()["status"] == "running"
            stopped = await ada.post(f"/v1/executions/{player.id}/stop")
            assert stopped.json()["status"] == "stopping"
            assert (await session.post(f"/v1/executions/{mine.id}/stop")).json()["status"] == "stopping"
            again = await session.post("/v1/session", json={"email": member.email, "password": PASSWORD})
            assert again.status_code == 503
            for path in ("/v1/executions", "/readyz"):
                assert (await ada.get(path)).status_code == 503
            async with gateway.client(Person("", "lk_" + "z" * 43)) as stranger:
                answer = await stranger.get("/v1/me")
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


@pytest.mark.fault
async def test_without_nats_everything_that_needs_the_log_is_refused_and_comes_back(
    own_nats: NatsServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_log, "APPEND_SECONDS", 0.5)
    async with running_gateway(own_nats, database) as gateway, gateway.client(database.people["ada"]) as ada:
        player = await begun(ada, gateway)
        own_nats.kill()
        for method, path in (
            ("GET", f"/v1/executions/{player.id}"),
            ("POST", f"/v1/executions/{player.id}/stop"),
            ("GET", "/readyz"),
        ):
            answer = await ada.request(method, path)
            assert answer.status_code == 503, answer.text
        assert (await ada.post("/v1/executions", json=GOOD)).status_code == 503
        assert (await ada.get("/livez")).status_code == 200
        own_nats.start()
        for _ in range(100):
            answer = await ada.get(f"/v1/executions/{player.id}")
            if answer.status_code == 200:
                break
        assert answer.json()["status"] == "running"


@pytest.mark.fault
async def test_a_full_log_refuses_and_loses_nothing(own_nats: NatsServer, database: Database) -> None:
    async with running_gateway(own_nats, database) as gateway, gateway.client(database.people["ada"]) as ada:
        first = await ada.post("/v1/executions", json=GOOD)
        large = {**GOOD, "input": {"topic": "x" * 60_000}}
        for _ in range(200):
            answer = await ada.post("/v1/executions", json=large)
            if answer.status_code != 202:
                break
        assert (answer.status_code, answer.json()["code"]) == (503, "log_full")
        assert "retry-after" in answer.headers
        assert (await ada.get(f"/v1/executions/{first.json()['id']}")).status_code == 200


@pytest.mark.fault
async def test_a_log_that_is_nearly_full_still_takes_stops_and_recovers(
    own_nats: NatsServer, database: Database
) -> None:
    async with running_gateway(own_nats, database) as gateway, gateway.client(database.people["ada"]) as ada:
        first = (await ada.post("/v1/executions", json=GOOD)).json()["id"]
        large = {**GOOD, "input": {"topic": "x" * 60_000}}
        for _ in range(200):
            await gateway.parts.room.look()
            answer = await ada.post("/v1/executions", json=large)
            if answer.status_code != 202:
                break
        assert (answer.status_code, answer.json()["code"]) == (503, "log_full")
        stopped = await ada.post(f"/v1/executions/{first}/stop")
        assert (stopped.status_code, stopped.json()["status"]) == (202, "stopped")
        await gateway.parts.js.purge_stream(EXECUTIONS, keep=10)
        await gateway.parts.room.look()
        assert (await ada.post("/v1/executions", json=GOOD)).status_code == 202


async def test_what_is_gone_or_does_not_answer_is_told_as_a_problem(
    own_nats: NatsServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_gateway(own_nats, database) as gateway, gateway.client(database.people["ada"]) as ada:
        player = await begun(ada, gateway)
        path = f"/v1/executions/{player.id}/output"
        for error, status, code in (
            (ArtifactGone("gone"), 410, "artifact_gone"),
            (UnknownEvent("of tomorrow"), 503, "history_unreadable"),
            (Permanent("no use"), 422, "not_possible"),
            (FlushTimeoutError(), 503, "unavailable"),
        ):

            async def fail(_: object, error: Exception = error) -> None:
                raise error

            monkeypatch.setattr(gateway.parts.bodies, "of", fail)
            answer = await ada.get(path)
            assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_the_live_view_ends_in_order_when_a_text_is_gone(
    own_nats: NatsServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(_: object) -> str:
        raise ArtifactGone("gone")

    async with running_gateway(own_nats, database) as gateway, gateway.client(database.people["ada"]) as ada:
        player = await begun(ada, gateway)
        monkeypatch.setattr(gateway.parts.texts, "of", gone)
        async with watching(ada, player.id) as stream:
            await player.complete("outline", "Tea")
            await stream.closed()


async def test_an_end_of_another_release_that_no_copy_announced_is_found(
    own_nats: NatsServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf(*_: object) -> None:
        return

    monkeypatch.setattr(lanes.Lanes, "hear", deaf)
    monkeypatch.setattr(lanes, "VERIFY_SECONDS", 0.05)
    alone = Person(new_id(), f"lk_{new_id()}")  # with many open ones it would wait in `later`, unasked for
    add_person(database, "olga", alone)
    async with running_gateway(own_nats, database) as gateway, gateway.client(alone) as olga:
        key = (await olga.post("/v1/executions", json=GOOD)).json()["id"]
        outline = await gateway.parts.log.outline(key)
        assert outline is not None
        headers = {GUARD: str(outline.last_seq), GUARD_SUBJECT: subjects.aggregate(key)}
        end = subjects.event_subject(key, "stopped")
        await gateway.parts.js.publish(end, b'{"type": "stopped", "version": 9}', headers=headers)
        async with asyncio.timeout(SECONDS):
            while gateway.parts.lanes.place(key) is not None:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
        assert not gateway.stop.is_set()


async def test_a_gateway_whose_lanes_end_by_themselves_fails(
    own_nats: NatsServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise Permanent("no use")

    monkeypatch.setattr(lanes.Lanes, "_verify", fail)
    async with running_gateway(own_nats, database) as gateway, asyncio.timeout(SECONDS):
        await gateway.stop.wait()
    assert gateway.stop.failure == "the lanes ended"
