"""The place of a queued execution: everywhere that it is shown, as it moves, at every gateway, and after a restart."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from deploy.local.nats_server import NatsServer
from services.gateway import stream as streams
from shared.ids import new_id
from tests.support.gateway import (
    SECONDS,
    Database,
    Gateway,
    Person,
    Player,
    add_person,
    running_gateway,
    watching,
)

GOOD = {"engine": "book", "input": {"topic": "Tea"}}
FEW = 8


@pytest.fixture
def person(database: Database) -> Person:
    """Somebody of whom nobody else's executions are."""
    found = Person(new_id(), f"lk_{new_id()}")
    add_person(database, "quentin", found)
    return found


@pytest.fixture
async def quentin(gateway: Gateway, person: Person) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client(person) as client:
        yield client


async def requests(client: httpx.AsyncClient, count: int) -> list[dict[str, Any]]:
    return [(await client.post("/v1/executions", json=GOOD)).json() for _ in range(count)]


async def get(client: httpx.AsyncClient, execution: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/v1/executions/{execution['id']}")).json()
    return found


async def test_it_is_in_the_answer_the_execution_and_the_list(quentin: httpx.AsyncClient) -> None:
    made = await requests(quentin, FEW + 3)
    assert made[0]["queue"]["position"] >= 1
    assert made[-1]["queue"]["position"] == FEW + 3
    assert made[-1]["queue"]["ahead"] == FEW + 2
    assert (await get(quentin, made[-2]))["queue"]["position"] == FEW + 2
    async with asyncio.timeout(SECONDS):
        while len(items := (await quentin.get("/v1/executions")).json()["items"]) < len(made):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
    shown = {item["id"]: item["queue"] for item in items}
    for execution in made:
        now = (await get(quentin, execution))["queue"]
        assert {key: shown[execution["id"]][key] for key in ("position", "ahead")} == {
            key: now[key]
            for key in ("position", "ahead")  # the estimate goes on
        }


async def test_only_what_waits_has_a_place(quentin: httpx.AsyncClient, gateway: Gateway) -> None:
    first, second = await requests(quentin, 2)
    before = second["queue"]["ahead"]
    player = Player(gateway.parts, first["id"])
    await player.claim()
    async with asyncio.timeout(SECONDS):
        while (await get(quentin, second))["queue"]["ahead"] != before - 1:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
    running = await get(quentin, first)
    assert (running["status"], running["queue"]) == ("running", None)
    stopped = (await quentin.post(f"/v1/executions/{second['id']}/stop")).json()
    assert (stopped["status"], stopped["queue"]) == ("stopped", None)


async def test_who_watches_a_queued_one_sees_it_move_and_start(
    quentin: httpx.AsyncClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PLACE_SECONDS", 0.05)
    made = await requests(quentin, FEW + 2)
    async with watching(quentin, made[-1]["id"]) as stream:
        assert (await stream.until("snapshot"))["queue"]["position"] == FEW + 2
        await quentin.post(f"/v1/executions/{made[3]['id']}/stop")
        async with asyncio.timeout(SECONDS):
            while (await stream.until("state"))["queue"]["position"] != FEW + 1:
                pass
        await Player(gateway.parts, made[-1]["id"]).claim()
        async with asyncio.timeout(SECONDS):
            while (state := await stream.until("state"))["status"] != "running":
                pass
        assert state["queue"] is None


async def test_another_gateway_and_one_started_later_know_it_too(
    nats_server: NatsServer, database: Database, person: Person, quentin: httpx.AsyncClient
) -> None:
    async with running_gateway(nats_server, database) as other, other.client(person) as there:
        made = await requests(quentin, FEW + 2)
        made += await requests(there, 1)
        assert made[-1]["lane"].startswith("later")
        async with asyncio.timeout(SECONDS):
            while made[-1]["queue"] != (await get(quentin, made[-1]))["queue"]:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
        assert made[-1]["queue"]["position"] == FEW + 3
    async with running_gateway(nats_server, database) as later, later.client(person) as there:
        async with asyncio.timeout(SECONDS):
            while (await get(there, made[-1]))["queue"] != made[-1]["queue"]:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
