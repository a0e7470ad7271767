"""Models over HTTP: users see names and limits, superadmins keep the catalogue, its prices and its audit."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from faststream.nats import NatsBroker
from psycopg.rows import dict_row

from deploy.local.nats_server import NatsServer
from deploy.local.standin.server import serving
from deploy.local.standin.settings import Settings
from services.executor.model_list import answer_lists
from services.executor.models.gemini import Gemini
from shared.ids import new_id
from tests.support.gateway import Database, Gateway

ADMIN = "/v1/admin/models"


@pytest.fixture
def name() -> str:
    """A model of this test alone."""
    return f"openai/test/{new_id()}"


@pytest.fixture(autouse=True)
async def _as_before(gateway: Gateway, database: Database) -> AsyncIterator[None]:
    yield
    database.execute("UPDATE models SET unlisted_at = NULL")
    database.execute("DELETE FROM model_prices WHERE model ~ '/test/'")
    database.execute(
        "DELETE FROM models WHERE name ~ '/test/|^gone-|latest$' OR name IN ('flash', 'lite', 'pro')"
    )
    await gateway.parts.catalogue.models_changed()


def audited(database: Database, target: str) -> list[dict[str, Any]]:
    with psycopg.connect(database.server.url, row_factory=dict_row) as connection:
        query = "SELECT actor, action, reason, details FROM audit WHERE target = %s ORDER BY at, id"
        return connection.execute(query, [target]).fetchall()


async def listed(client: httpx.AsyncClient, name: str, path: str = "/v1/models") -> dict[str, Any]:
    answer = await client.get(path)
    assert answer.status_code == 200
    (found,) = [item for item in answer.json()["items"] if item["name"] == name]
    return dict(found)


def rates(item: dict[str, Any]) -> dict[tuple[str, str, int], str]:
    return {
        (p["valid_from"][:10], p["token_kind"], p["threshold"]): p["price_per_million"]
        for p in item["prices"]
    }


async def test_users_see_what_they_can_name_and_no_price(ada: httpx.AsyncClient) -> None:
    answer = await ada.get("/v1/models")
    assert "price" not in answer.text
    assert "cost" not in answer.text
    flash = await listed(ada, "gemini-3.8-flash")
    assert (flash["provider"], flash["tier"], flash["retired"]) == ("gemini", "included", False)
    assert flash["capabilities"] == {
        "text": True,
        "streaming": True,
        "structured_output": True,
        "thinking": True,
    }
    old = await listed(ada, "gemini-1.5-flash")
    assert (old["retired"], old["successor"]) == (True, "gemini-3.8-flash")


@pytest.mark.parametrize(
    ("name", "retires", "successor"),
    [
        ("gemini-2.5-pro", "2026-12-01", "gemini-3.8-flash"),
        ("gemini-2.5-flash", "2026-12-01", "gemini-3.5-flash-lite"),
        ("gemini-1.5-pro", "2025-09-24", "gemini-3.8-flash"),
        ("gemini-2.0-flash", "2026-06-01", "gemini-3.8-flash"),
    ],
)
async def test_the_catalogue_knows_retirements(
    root: httpx.AsyncClient, name: str, retires: str, successor: str
) -> None:
    found = await listed(root, name, ADMIN)
    assert (found["retired_at"][:10], found["successor"]) == (retires, successor)


@pytest.mark.parametrize("name", ["gemini-1.5-flash", "gemini-1.5-pro", "gemini-2.0-flash"])
async def test_an_engine_with_a_retired_model_is_refused_with_the_successor(
    ada: httpx.AsyncClient, name: str
) -> None:
    node = {"id": "text", "kind": "generate", "model": name, "prompt": "x"}
    engine = {"id": "old", "name": "Old", "nodes": [node], "output": "text"}
    answer = await ada.put("/v1/engines/old", json=engine)
    assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, ["nodes.text.model"])
    assert "gemini-3.8-flash" in answer.json()["errors"][0]["detail"]


async def test_only_superadmins_get_to_the_catalogue(
    ada: httpx.AsyncClient, anybody: httpx.AsyncClient
) -> None:
    for client, status in ((ada, 403), (anybody, 401)):
        for method, path in (
            ("GET", ADMIN),
            ("PUT", f"{ADMIN}/openai/x"),
            ("DELETE", f"{ADMIN}/openai/x"),
            ("POST", f"{ADMIN}/openai/x/prices"),
            ("POST", f"{ADMIN}/refresh"),
        ):
            body = {"tier": "payg"} if method == "PUT" else {"input": "1", "output": "1"}
            content = json.dumps(body) if method in ("PUT", "POST") else None
            answer = await client.request(
                method, path, content=content, headers={"Content-Type": "application/json"}
            )
            assert (method, path, answer.status_code) == (method, path, status)
    assert (await anybody.get("/v1/models")).status_code == 401


async def test_a_model_is_created_used_and_replaced(
    root: httpx.AsyncClient, ada: httpx.AsyncClient, database: Database, name: str
) -> None:
    node = {"id": "text", "kind": "generate", "model": name, "prompt": "x"}
    engine = {"id": "new", "name": "New", "nodes": [node], "output": "text"}
    assert (await ada.post("/v1/engines/validate", json=engine)).json()["valid"] is False
    body = {"tier": "included", "capabilities": {"thinking": True}, "input_limit": 8192, "reason": "try it"}
    created = await root.put(f"{ADMIN}/{name}", json=body)
    assert (created.status_code, created.json()["provider"], created.json()["prices"]) == (201, "openai", [])
    assert (await ada.post("/v1/engines/validate", json=engine)).json()["valid"] is True
    seen = await listed(ada, name)
    assert (seen["tier"], seen["input_limit"], seen["output_limit"]) == ("included", 8192, None)
    replaced = await root.put(f"{ADMIN}/{name}", json={"tier": "payg"})
    assert (replaced.status_code, replaced.json()["input_limit"]) == (200, None)
    (first, second) = audited(database, name)
    assert (first["actor"], first["action"], first["reason"]) == (
        database.people["root"].user_id,
        "models.put",
        "try it",
    )
    assert second["details"]["tier"] == "payg"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "tier"),
        ({"tier": "free"}, "tier"),
        ({"tier": "payg", "input_limit": 0}, "input_limit"),
        ({"tier": "payg", "retired_at": "2026-12-01T00:00:00"}, "retired_at"),
        ({"tier": "payg", "retired_at": "2026-12-01T00:00:00Z", "successor": "nobody-knows-it"}, "successor"),
        ({"tier": "payg", "successor": "gemini-3.8-flash"}, "body"),
        ({"tier": "payg", "reason": "a\x00b"}, "reason"),
        ({"tier": "payg", "price": "1"}, "price"),
    ],
)
async def test_a_wrong_model_is_refused_by_field(
    root: httpx.AsyncClient, name: str, body: dict[str, Any], field: str
) -> None:
    answer = await root.put(f"{ADMIN}/{name}", json=body)
    assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [field])


async def test_a_retired_model_names_its_successor_and_is_never_removed(
    root: httpx.AsyncClient, ada: httpx.AsyncClient, database: Database, name: str
) -> None:
    next_one = f"{name}-b"
    for each in (name, next_one):
        await root.put(f"{ADMIN}/{each}", json={"tier": "payg"})
    node = {"id": "text", "kind": "generate", "model": name, "prompt": "x"}
    await ada.put(
        "/v1/engines/uses-it", json={"id": "uses-it", "name": "U", "nodes": [node], "output": "text"}
    )
    retired = await root.delete(f"{ADMIN}/{name}", params={"successor": next_one, "reason": "too slow"})
    assert (retired.status_code, retired.json()["retired"], retired.json()["used_by"]) == (200, True, 1)
    assert (await listed(ada, name))["successor"] == next_one
    again = await root.delete(f"{ADMIN}/{next_one}", params={"successor": name})
    assert (again.status_code, again.json()["errors"][0]["field"]) == (422, "successor")
    assert (await root.delete(f"{ADMIN}/openai/nobody")).status_code == 404
    assert audited(database, name)[-1]["reason"] == "too slow"
    await ada.delete("/v1/engines/uses-it")


@pytest.mark.parametrize(
    ("place", "count"),
    [
        ({"fallback_model": "it"}, 1),
        ({"nodes": [{"node": {"model": "it"}}]}, 1),
        ({"nodes": [{"cases": [{"node": {"model": "other"}}, {"node": {"model": "it"}}]}]}, 1),
        ({"nodes": [{"else": {"model": "it"}}, {"model": "it"}]}, 1),
        (
            {
                "nodes": [
                    {
                        "model": "other",
                        "output_schema": {"properties": {"model": {"const": "it"}}, "model": "it"},
                    }
                ]
            },
            0,
        ),
    ],
)
async def test_an_engine_is_counted_wherever_it_names_a_retired_model_and_nowhere_else(
    root: httpx.AsyncClient, database: Database, name: str, place: dict[str, Any], count: int
) -> None:
    await root.put(f"{ADMIN}/{name}", json={"tier": "payg"})
    engine_id = new_id()
    definition = json.dumps(place).replace('"it"', json.dumps(name))
    database.execute(
        "INSERT INTO engines (owner_id, id, name, definition) VALUES (%s, %s, 'x', %s)",
        database.people["ada"].user_id,
        engine_id,
        definition,
    )
    assert (await root.delete(f"{ADMIN}/{name}")).json()["used_by"] == count
    database.execute("DELETE FROM engines WHERE id = %s", engine_id)


async def test_an_engine_asks_of_a_model_what_it_can_do(
    root: httpx.AsyncClient, ada: httpx.AsyncClient, name: str
) -> None:
    node = {
        "id": "text",
        "kind": "generate",
        "model": name,
        "prompt": "x",
        "output_schema": {"type": "object"},
    }
    engine = {"id": "asks", "name": "Asks", "nodes": [node], "output": "text"}

    async def said(**capabilities: bool) -> str:
        await root.put(f"{ADMIN}/{name}", json={"tier": "payg", "capabilities": capabilities})
        errors = (await ada.post("/v1/engines/validate", json=engine)).json()["errors"]
        return "; ".join(f"{error['field']}: {error['detail']}" for error in errors)

    assert await said() == ""
    assert (await said(structured_output=False)).startswith(
        f"nodes.text.model: {name} follows no output_schema"
    )
    for without in ("text", "streaming"):
        assert "not known to answer with text" in await said(**{without: False})


async def test_prices_are_dated_repeatable_and_what_has_begun_stays(
    root: httpx.AsyncClient, database: Database, name: str
) -> None:
    await root.put(f"{ADMIN}/{name}", json={"tier": "payg"})
    path = f"{ADMIN}/{name}/prices"
    first = {
        "input": "2", "cached": "0.2", "output": "12", "valid_from": "2026-01-01T00:00:00Z",
        "long": {"input": "4", "cached": "0.4", "output": "18"},
    }  # fmt: skip
    one = await root.post(path, json=first)
    assert one.status_code == 200
    assert rates(one.json())["2026-01-01", "thoughts", 200_001] == "18.0000"
    assert rates(one.json())["2026-01-01", "tool", 0] == "2.0000"
    assert (await root.post(path, json=first)).json() == one.json()
    assert len(audited(database, name)) == 2
    changed = await root.post(path, json={**first, "output": "13"})
    assert (changed.status_code, changed.json()["code"]) == (409, "price_has_begun")
    later = {**first, "valid_from": "2127-01-01T00:00:00Z", "input": "3"}
    assert rates((await root.post(path, json=later)).json())["2127-01-01", "input", 0] == "3.0000"
    replaced = await root.post(path, json={**later, "input": "3.5"})
    assert rates(replaced.json())["2127-01-01", "input", 0] == "3.5000"
    assert len(replaced.json()["prices"]) == 20
    missing = await root.post(path, json={"input": "1", "output": "1"})
    assert (missing.status_code, missing.json()["errors"][0]["field"]) == (422, "long")


async def test_a_price_from_now_on_begins_once(root: httpx.AsyncClient, name: str) -> None:
    await root.put(f"{ADMIN}/{name}", json={"tier": "payg"})
    before = datetime.now(UTC)
    body = {"input": "1", "output": "2"}
    first = (await root.post(f"{ADMIN}/{name}/prices", json=body)).json()
    begins = {datetime.fromisoformat(price["valid_from"]) for price in first["prices"]}
    assert all(
        before - timedelta(seconds=5) < moment <= datetime.now(UTC) + timedelta(seconds=5)
        for moment in begins
    )
    assert (await root.post(f"{ADMIN}/{name}/prices", json=body)).json() == first


@pytest.mark.parametrize("amount", ["-1", "1.23456", "1e3", "", "NaN", "123456789", 0.75])
async def test_an_amount_is_an_exact_decimal_text(root: httpx.AsyncClient, name: str, amount: object) -> None:
    answer = await root.post(f"{ADMIN}/{name}/prices", json={"input": amount, "output": "1"})
    assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, ["input"])
    assert '"0.75"' in answer.json()["errors"][0]["detail"]


async def test_a_refresh_without_an_executor_says_so(root: httpx.AsyncClient) -> None:
    answer = await root.post(f"{ADMIN}/refresh")
    assert (answer.status_code, answer.json()["code"]) == (503, "no_model_list")
    assert "executor" in answer.json()["detail"]


async def test_a_refresh_takes_over_what_the_provider_lists(
    root: httpx.AsyncClient, nats_server: NatsServer, database: Database
) -> None:
    gone = f"gone-{new_id()}"
    await root.put(f"{ADMIN}/{gone}", json={"tier": "included"})
    async with serving(Settings()) as url, NatsBroker(nats_server.url) as broker:
        gemini = Gemini("stand-in", url)
        answer_lists(broker, gemini)
        await broker.start()
        first = await root.post(f"{ADMIN}/refresh")
        second = await root.post(f"{ADMIN}/refresh")
        await gemini.aclose()
    assert first.status_code == 200
    assert {"gemini-flash-latest", "gemini-pro-latest"} <= set(first.json()["added"])
    assert gone in first.json()["unlisted"]
    alias = await listed(root, "gemini-pro-latest", ADMIN)
    assert (alias["tier"], alias["prices"], alias["input_limit"]) == ("payg", [], 1_048_576)
    flash = await listed(root, "gemini-3.8-flash", ADMIN)
    assert (flash["tier"], flash["output_limit"], len(flash["prices"])) == ("included", 65_536, 10)
    kept = await listed(root, gone, ADMIN)
    assert (kept["tier"], kept["retired"], kept["unlisted_at"] is None) == ("included", False, False)
    assert [second.json()[what] for what in ("added", "changed", "unlisted", "listed_again")] == [
        [],
        [],
        [],
        [],
    ]
    assert audited(database, "*")[-1]["action"] == "models.refresh"


async def test_a_provider_that_refuses_the_key_gives_no_list_and_changes_nothing(
    root: httpx.AsyncClient, nats_server: NatsServer
) -> None:
    async with NatsBroker(nats_server.url) as broker:
        gemini = Gemini("no key", "http://127.0.0.1:9")
        answer_lists(broker, gemini)
        await broker.start()
        answer = await root.post(f"{ADMIN}/refresh")
        await gemini.aclose()
    assert (answer.status_code, answer.json()["code"]) == (503, "no_model_list")


async def test_the_document_names_every_answer(anybody: httpx.AsyncClient) -> None:
    document = (await anybody.get("/openapi.json")).json()
    for path in (
        f"{ADMIN}",
        f"{ADMIN}/refresh",
        f"{ADMIN}/{{name}}",
        f"{ADMIN}/{{name}}/prices",
        "/v1/models",
    ):
        for method, call in document["paths"][path].items():
            assert "$ref" in call["responses"]["200"]["content"]["application/json"]["schema"], (path, method)
