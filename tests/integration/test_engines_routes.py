"""Engines over HTTP, on a real database and a real NATS server."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import nats
import psycopg
import pytest
from fastapi import FastAPI
from nats.aio.client import Client
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.nats_server import NatsServer
from deploy.local.postgres import PostgresServer
from services.gateway import engine_lifecycle, engines, problems
from services.gateway.authenticator import Authenticator
from services.gateway.catalogue import Catalogue
from services.gateway.engine_answers import STORED_FIELDS
from services.gateway.engine_checks import EngineChecks
from services.gateway.last_used import LastUsed
from services.gateway.rate_limits import Buckets
from services.gateway.settings import GatewaySettings
from services.gateway.unknown_credentials import UnknownCredentials
from shared.db import make_engine
from shared.errors import Unavailable
from shared.ids import new_id
from shared.tables import SYSTEM_USER_ID
from shared.usage import Tier
from tests.support.postgres import migrated_server, service_url

ANN, BOB = new_id(), new_id()
KEYS = {ANN: "lk_ann-0123456789abcdef", BOB: "lk_bob-0123456789abcdef"}
SEED = {
    "users": [
        {
            "user_id": user,
            "email": f"{name}@localhost",
            "name": name,
            "role": role,
            "api_key": KEYS[user],
            "password": "x",
        }
        for user, name, role in ((ANN, "Ann", "user"), (BOB, "Bob", "superadmin"))
    ]
}
SAMPLES = ["article", "article-from-notes", "product-descriptions", "short-book", "summary", "translate"]
MINE: dict[str, Any] = {
    "id": "mine",
    "name": "Mine",
    "inputs": {"topic": {"required": True}},
    "nodes": [{"id": "text", "kind": "generate", "model": "gemini-3.8-flash", "prompt": "On {{ topic }}"}],
    "output": "text",
}


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with migrated_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="module")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    try:
        yield server.start()
    finally:
        server.stop()


def seed(postgres: PostgresServer, text: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATABASE_URL": service_url(postgres, "gateway")}
    return subprocess.run(
        [sys.executable, "-m", "services.gateway.seed"],
        input=text, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def seeded(postgres: PostgresServer) -> PostgresServer:
    done = seed(postgres, json.dumps(SEED))
    assert (done.returncode, done.stderr) == (0, "")
    return postgres


@dataclass
class Gateway:
    http: httpx.AsyncClient
    catalogue: Catalogue
    nc: Client

    async def call(self, method: str, path: str, body: object = None, user: str = ANN) -> httpx.Response:
        headers = {"Authorization": f"Bearer {KEYS[user]}"}
        return await self.http.request(method, path, json=body, headers=headers)


@pytest.fixture
async def gateway(seeded: PostgresServer, nats_url: str) -> AsyncIterator[Gateway]:
    db = make_engine(service_url(seeded, "gateway"), application="test")
    nc = await nats.connect(nats_url)
    catalogue = Catalogue(db, nc)
    app = FastAPI()
    problems.install(app)
    app.include_router(engines.router)
    app.include_router(engine_lifecycle.router)
    settings = GatewaySettings(nats_url=nats_url, database_url="unused")
    app.state.parts = SimpleNamespace(
        engine_checks=EngineChecks(),
        settings=settings,
        db=db,
        nc=nc,
        catalogue=catalogue,
        authenticator=Authenticator(db, nc),
        identity_tokens=None,
        requests=Buckets(0, 1),
        unknown=UnknownCredentials(settings),
        last_used=LastUsed(db, settings, time.monotonic),
    )
    transport = httpx.ASGITransport(app)
    async with catalogue, httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        yield Gateway(http, catalogue, nc)
        for user in KEYS:
            headers = {"Authorization": f"Bearer {KEYS[user]}"}
            for item in (await http.get("/v1/engines", headers=headers)).json()["items"]:
                if item["owner"] == user:
                    await http.delete(f"/v1/engines/{item['id']}", headers=headers)
    await nc.close()
    await db.dispose()


class Listening(Catalogue):
    """Tells when it has heard of a change."""

    def __init__(self, db: AsyncEngine, nc: Client) -> None:
        super().__init__(db, nc)
        self.forgot = asyncio.Event()

    def _forget(self, engine_id: str) -> None:
        super()._forget(engine_id)
        self.forgot.set()


def rows(postgres: PostgresServer, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(postgres.url) as connection:
        return connection.execute(query).fetchall()


def test_seeding_again_changes_nothing(seeded: PostgresServer) -> None:
    def content() -> list[list[tuple[object, ...]]]:
        return [
            rows(seeded, "SELECT id, email, display_name, role FROM users ORDER BY id"),
            rows(seeded, "SELECT id, user_id, prefix, digest FROM api_keys ORDER BY id"),
            rows(
                seeded,
                "SELECT owner_id, id, version, shared, updated_at, definition FROM engines ORDER BY id",
            ),
        ]

    before = content()
    assert seed(seeded, json.dumps(SEED)).returncode == 0
    assert content() == before
    assert [row[1] for row in before[2]] == SAMPLES


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("not json", 2, "is not JSON"),
        (json.dumps({"users": [{**SEED["users"][0], "role": "king"}]}), 2, "users.0.role"),
        (json.dumps({"users": [{**SEED["users"][0], "user_id": new_id()}]}), 1, "clashes"),
    ],
)
def test_a_seed_that_is_refused_says_why_and_shows_no_key(
    seeded: PostgresServer, text: str, code: int, said: str
) -> None:
    done = seed(seeded, text)
    assert done.returncode == code
    assert said in done.stderr
    assert "lk_" not in done.stderr
    assert "Traceback" not in done.stderr


def test_all_models_of_the_samples_are_known(seeded: PostgresServer) -> None:
    used = rows(
        seeded,
        "SELECT DISTINCT jsonb_path_query(definition::jsonb, '$.**.model') #>> '{}' FROM engines WHERE shared",
    )
    known = rows(seeded, "SELECT name FROM models WHERE retired_at IS NULL")
    assert used
    assert set(used) <= set(known)


async def test_the_list_shows_samples_with_their_inputs(gateway: Gateway) -> None:
    answer = await gateway.call("GET", "/v1/engines")
    assert answer.status_code == 200
    assert answer.json()["next_cursor"] is None
    items = {item["id"]: item for item in answer.json()["items"]}
    assert list(items) == SAMPLES
    book = items["short-book"]
    assert (book["shared"], book["owner"], book["version"]) == (True, SYSTEM_USER_ID, 1)
    assert book["inputs"]["topic"]["type"] == "text"
    assert book["inputs"]["topic"]["required"] is True
    assert book["inputs"]["chapters"]["default"] == 3


async def test_put_creates_replaces_and_leaves_alone(gateway: Gateway) -> None:
    created = await gateway.call("PUT", "/v1/engines/mine", MINE)
    assert (created.status_code, created.json()["version"]) == (201, 1)
    again = await gateway.call("PUT", "/v1/engines/mine", MINE)
    assert (again.status_code, again.json()) == (200, created.json())
    changed = await gateway.call("PUT", "/v1/engines/mine", {**MINE, "name": "Ours"})
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    assert (await gateway.call("GET", "/v1/engines/mine")).json() == changed.json()


async def test_inputs_keep_the_order_that_their_author_gave_them(gateway: Gateway) -> None:
    inputs: dict[str, dict[str, str]] = {name: {} for name in ("topic", "a", "title_of_it", "b")}
    created = await gateway.call("PUT", "/v1/engines/mine", {**MINE, "inputs": inputs})
    got = await gateway.call("GET", "/v1/engines/mine")
    assert list(created.json()["inputs"]) == list(got.json()["inputs"]) == list(inputs)
    inputs["topic"] = inputs.pop("topic")
    moved = await gateway.call("PUT", "/v1/engines/mine", {**MINE, "inputs": inputs})
    assert (moved.json()["version"], list(moved.json()["inputs"])[-1]) == (2, "topic")


async def test_changes_at_the_same_moment_each_get_a_version(gateway: Gateway) -> None:
    names = [f"Name {n}" for n in range(20)]
    answers = await asyncio.gather(
        *(gateway.call("PUT", "/v1/engines/mine", {**MINE, "name": name}) for name in names)
    )
    assert sorted(answer.json()["version"] for answer in answers) == list(range(1, 21))
    assert [answer.status_code for answer in answers].count(201) == 1
    last = max((answer.json() for answer in answers), key=lambda engine: engine["version"])
    assert (await gateway.call("GET", "/v1/engines/mine")).json() == last


async def test_what_was_got_can_be_put_again(gateway: Gateway) -> None:
    sample = (await gateway.call("GET", "/v1/engines/short-book")).json()
    own = await gateway.call("PUT", "/v1/engines/short-book", sample)
    assert (own.status_code, own.json()["owner"], own.json()["shared"]) == (201, ANN, False)
    assert {k: v for k, v in own.json().items() if k not in STORED_FIELDS} == {
        k: v for k, v in sample.items() if k not in STORED_FIELDS
    }


async def test_ones_own_engine_hides_a_shared_one(gateway: Gateway) -> None:
    await gateway.call("PUT", "/v1/engines/article", {**MINE, "id": "article"})
    assert (await gateway.call("GET", "/v1/engines/article")).json()["name"] == "Mine"
    assert (await gateway.call("GET", "/v1/engines/article", user=BOB)).json()["name"] == "Article"
    listed = (await gateway.call("GET", "/v1/engines")).json()["items"]
    assert [item["owner"] for item in listed if item["id"] == "article"] == [ANN]
    mine = await gateway.catalogue.engine(ANN, "article")
    assert mine is not None
    assert (mine.owner_id, mine.definition.name) == (ANN, "Mine")
    assert (await gateway.call("DELETE", "/v1/engines/article")).status_code == 204
    assert (await gateway.call("GET", "/v1/engines/article")).json()["owner"] == SYSTEM_USER_ID


async def test_engines_of_others_do_not_exist(gateway: Gateway) -> None:
    await gateway.call("PUT", "/v1/engines/mine", MINE)
    assert await gateway.catalogue.engine(BOB, "mine") is None
    for method in ("GET", "DELETE"):
        assert (await gateway.call(method, "/v1/engines/mine", user=BOB)).status_code == 404
    theirs = await gateway.call("PUT", "/v1/engines/mine", {**MINE, "name": "Bob's"}, user=BOB)
    assert theirs.status_code == 201
    assert (await gateway.call("GET", "/v1/engines/mine")).json()["name"] == "Mine"


async def test_deleting(gateway: Gateway) -> None:
    await gateway.call("PUT", "/v1/engines/mine", MINE)
    assert (await gateway.call("DELETE", "/v1/engines/mine")).status_code == 204
    assert (await gateway.call("DELETE", "/v1/engines/mine")).status_code == 404
    refused = await gateway.call("DELETE", "/v1/engines/article")
    assert (refused.status_code, refused.json()["code"]) == (403, "not_your_engine")


async def test_problems_name_node_and_field(gateway: Gateway) -> None:
    wrong = {**MINE, "nodes": [{**MINE["nodes"][0], "prompt": "On {{ topc }}", "model": "gemini-3.8-flsh"}]}
    answer = await gateway.call("PUT", "/v1/engines/mine", wrong)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_definition")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"] == [
        {"field": "nodes.text.prompt", "detail": "'topc' is neither an input nor a node; did you mean topic?", "node": "text"},
        {
            "field": "nodes.text.model",
            "detail": "there is no model 'gemini-3.8-flsh'; did you mean gemini-3.8-flash?",
            "node": "text",
        },
    ]  # fmt: skip
    checked = await gateway.call("POST", "/v1/engines/validate", wrong)
    assert checked.json() == {"valid": False, "errors": answer.json()["errors"], "warnings": []}
    assert (await gateway.call("GET", "/v1/engines/mine")).status_code == 404


async def test_validating_stores_nothing(gateway: Gateway) -> None:
    answer = await gateway.call("POST", "/v1/engines/validate", MINE)
    assert answer.json() == {"valid": True, "errors": [], "warnings": []}
    assert (await gateway.call("GET", "/v1/engines/mine")).status_code == 404


async def test_the_id_may_be_left_out_and_must_else_match(gateway: Gateway) -> None:
    without = {key: value for key, value in MINE.items() if key != "id"}
    assert (await gateway.call("PUT", "/v1/engines/other", without)).json()["id"] == "other"
    refused = await gateway.call("PUT", "/v1/engines/other", MINE)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "id")


@pytest.mark.parametrize(
    "path", ["/v1/engines/UPPER", "/v1/engines/%00", "/v1/engines/a%20b", "/v1/engines/" + "x" * 65]
)
async def test_ids_that_can_not_be(gateway: Gateway, path: str) -> None:
    for method in ("GET", "DELETE"):
        assert (await gateway.call(method, path)).status_code == 404
    without = {key: value for key, value in MINE.items() if key != "id"}
    refused = await gateway.call("PUT", path, without)
    assert (refused.status_code, [e["field"] for e in refused.json()["errors"]]) == (422, ["id"])


async def test_nobody_sees_nothing(gateway: Gateway) -> None:
    assert (await gateway.http.get("/v1/engines")).status_code == 401


async def test_a_change_is_known_to_other_gateways(
    gateway: Gateway, seeded: PostgresServer, nats_url: str
) -> None:
    db = make_engine(service_url(seeded, "gateway"), application="other")
    nc = await nats.connect(nats_url)
    try:
        other = Listening(db, nc)
        async with other:
            await gateway.call("PUT", "/v1/engines/mine", MINE)
            first = await other.engine(ANN, "mine")
            other.forgot.clear()
            await gateway.call("PUT", "/v1/engines/mine", {**MINE, "name": "Ours"})
            async with asyncio.timeout(5):
                await other.forgot.wait()
            second = await other.engine(ANN, "mine")
            assert first is not None
            assert second is not None
            assert (first.definition.name, second.definition.name) == ("Mine", "Ours")
    finally:
        await nc.close()
        await db.dispose()


async def test_tiers_and_names_of_models(gateway: Gateway) -> None:
    tiers = await gateway.catalogue.tiers(["gemini-3.8-flash", "gemini-3.1-pro-preview", "never-heard-of"])
    assert tiers == {
        "gemini-3.8-flash": Tier.INCLUDED,
        "gemini-3.1-pro-preview": Tier.PAYG,
        "never-heard-of": Tier.PAYG,
    }
    assert {"gemini-3.8-flash", "gemini-3.5-flash-lite"} <= await gateway.catalogue.known_models()


async def test_what_is_remembered_outlives_the_database(seeded: PostgresServer, nats_url: str) -> None:
    """While Postgres is down, executions of known engines can still be started."""
    now = [0.0]
    db = make_engine(service_url(seeded, "gateway"), application="test")
    gone = make_engine("postgresql://nobody@127.0.0.1:1/none", application="test", connect_seconds=1)
    nc = await nats.connect(nats_url)
    try:
        async with Catalogue(db, nc, clock=lambda: now[0]) as catalogue:
            known = await catalogue.engine(ANN, "article")
            models = await catalogue.models()
            catalogue._db = gone
            now[0] = 60.0
            assert await catalogue.engine(ANN, "article") == known
            assert await catalogue.models() == models
            with pytest.raises(Unavailable):
                await catalogue.engine(ANN, "short-book")
            now[0] = 3700.0
            with pytest.raises(Unavailable):
                await catalogue.engine(ANN, "article")
    finally:
        await nc.close()
        await asyncio.gather(db.dispose(), gone.dispose())


async def test_the_document_describes_the_answers(gateway: Gateway) -> None:
    transport = gateway.http._transport
    assert isinstance(transport, httpx.ASGITransport)
    document = (await gateway.http.get("/openapi.json")).json()
    text = json.dumps(document)
    assert "#/$defs/" not in text
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"]


def test_samples_are_files_of_the_package() -> None:
    assert {path.stem for path in Path("services/gateway/samples").iterdir()} == set(SAMPLES)
