"""One person's data: all of it goes out, and all of it goes away."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx
import psycopg

from shared.execution import Status
from shared.ids import new_id
from shared.tables import metadata
from tests.support.gateway import SECONDS, Database, Gateway, Person, Player, add_person
from tests.support.routes import made_by
from tests.support.stack import Stack


def somebody(database: Database, role: str = "user") -> Person:
    person = Person(new_id(), f"lk_{new_id()}")
    add_person(database, "somebody", person, role)
    return person


def lines_of(answer: httpx.Response) -> Mapping[str, Sequence[dict[str, Any]]]:
    assert answer.headers["content-type"] == "application/x-ndjson"
    found: dict[str, list[dict[str, Any]]] = {}
    for line in answer.text.splitlines():
        content = json.loads(line)
        found.setdefault(content.pop("record"), []).append(content)
    return found


async def test_an_export_has_all_of_the_person_and_says_that_it_is_whole(
    gateway: Gateway, database: Database, root: httpx.AsyncClient
) -> None:
    person = somebody(database)
    async with gateway.client(person) as client:
        things = await made_by(client, root, person)
        player = Player(gateway.parts, things.path["execution_id"])
        await player.claim()
        await player.begin("text", kind="template", model=None)
        await player.complete("text", "what was written", kind="template", usage=())
        await player.finish()
        await _listed(client, things.path["execution_id"], Status.COMPLETED)
        _with_closed_days(database, person)
        mine = lines_of(await client.get("/v1/me/export"))
    assert {kind: len(lines) for kind, lines in mine.items()} == {
        "profile": 1, "key": 2, "engine": 1, "engine_version": 1, "draft": 1, "usage_zone": 1, "execution": 1, "end": 1,
    }  # fmt: skip
    (execution,) = mine["execution"]
    assert execution["input"] == {"topic": things.mark}
    assert execution["text"]["text"] == "what was written"
    assert "digest" not in mine["key"][0]
    assert set(mine["usage_zone"][0]) == {"timezone", "looked_at"}
    assert mine["end"][0]["lines"]["execution"] == 1
    theirs = lines_of(await root.get(f"/v1/admin/users/{person.user_id}/export"))
    changing: dict[str, list[Any]] = {"end": [], "key": []}  # the time, and when a key was last used
    assert {**theirs, **changing} == {**mine, **changing}
    missing = await root.get(f"/v1/admin/users/{new_id()}/export")
    assert missing.status_code == 404


async def _until(true: Callable[[], Awaitable[bool]], seconds: float = SECONDS) -> None:
    """Asks until it is so, as nobody tells."""
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _listed(client: httpx.AsyncClient, execution_id: str, status: Status) -> None:
    async def so() -> bool:
        items = (await client.get("/v1/executions")).json()["items"]
        return any((item["id"], item["status"]) == (execution_id, status) for item in items)

    await _until(so)


async def test_an_erasure_refuses_keys_at_once_ends_what_runs_and_can_be_repeated(
    gateway: Gateway, database: Database, root: httpx.AsyncClient
) -> None:
    person = somebody(database)
    async with gateway.client(person) as client:
        things = await made_by(client, root, person)
        await _listed(client, things.path["execution_id"], Status.QUEUED)
        _with_closed_days(database, person)
        path = f"/v1/admin/users/{person.user_id}"
        assert (await root.request("DELETE", path, json={})).status_code == 422, "a reason is needed"
        for _ in range(2):
            answer = await root.request("DELETE", path, json={"reason": "asked for by letter"})
            assert answer.status_code == 202, answer.text
            assert answer.json()["state"] == "running"
        assert (await client.get("/v1/me")).status_code == 401

    async def stopped() -> bool:
        return (await Player(gateway.parts, things.path["execution_id"]).state()).status is Status.STOPPED

    await _until(stopped)
    acts = (await root.get("/v1/admin/audit", params={"target": person.user_id})).json()["items"]
    assert [(act["action"], act["reason"]) for act in acts] == [("users.erase", "asked for by letter")]
    (erasure,) = [
        each
        for each in (await root.get("/v1/admin/erasures")).json()["items"]
        if each["user_id"] == person.user_id
    ]
    assert erasure["executions_left"] == 1
    assert _left_of(database, person) == {"users": 1, "erasures": 1}
    with psycopg.connect(database.server.url) as connection:
        query = "SELECT email, display_name, anonymised_at IS NOT NULL FROM users WHERE id = %s"
        assert connection.execute(query, [person.user_id]).fetchone() == (None, "deleted user", True)
        query = "SELECT count(*) FROM audit WHERE audit::text ~ %s"
        assert connection.execute(query, [things.mark]).fetchone() == (0,), "nobody can take it out of there"


def _with_closed_days(database: Database, person: Person) -> None:
    database.execute(
        "insert into usage_zones (user_id, timezone) values (%s, 'Asia/Kathmandu')", person.user_id
    )
    database.execute(
        "insert into usage_days (user_id, timezone, start, sums, engines, models, kinds)"
        " values (%s, 'Asia/Kathmandu', now(), '[]', '[]', '[]', '[]')",
        person.user_id,
    )


async def test_what_a_request_stores_that_was_under_way_goes_too(
    gateway: Gateway, database: Database, root: httpx.AsyncClient
) -> None:
    person = somebody(database)
    answer = await root.request("DELETE", f"/v1/admin/users/{person.user_id}", json={"reason": "asked for"})
    assert answer.status_code == 202
    database.execute(
        "insert into engines (owner_id, id, name, definition) values (%s, 'late', 'Late', '{}')",
        person.user_id,
    )
    gateway.parts.eraser.look_now()

    async def gone() -> bool:
        return _left_of(database, person) == {"users": 1, "erasures": 1}

    await _until(gone)


def _left_of(database: Database, person: Person) -> dict[str, int]:
    """Rows that name the person, by table; executions are the janitor's."""
    found = {}
    with psycopg.connect(database.server.url) as connection:
        for table in metadata.sorted_tables:
            columns = [c.name for c in table.columns if c.name in ("user_id", "owner_id", "created_by")]
            if table.name == "users":
                columns = ["id"]
            for column in columns if table.name != "executions" else ():
                query = f"SELECT count(*) FROM {table.name} WHERE {column} = %s"
                row = connection.execute(query.encode(), [person.user_id]).fetchone()
                if row is not None and row[0]:
                    found[table.name] = row[0]
    return found


async def test_a_person_who_erases_himself_must_confirm_it(
    gateway: Gateway, database: Database, ada: httpx.AsyncClient
) -> None:
    refused = await ada.request("DELETE", "/v1/me", json={"confirm": "yes"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "confirm"
    person = somebody(database)
    async with gateway.client(person) as client:
        answer = await client.request("DELETE", "/v1/me", json={"confirm": "erase all my data"})
        assert answer.json()["state"] == "done"


async def test_an_erasure_leaves_nothing_in_the_log_and_counts_what_was_used(stack: Stack) -> None:
    person = Person(new_id(), f"lk_{new_id()}")
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO users (id, display_name) VALUES (%s, 'x')", [person.user_id])
        connection.execute(
            "INSERT INTO api_keys (id, user_id, prefix, digest, name) VALUES (%s, %s, 'lk_', sha256(%s), 'x')",
            [new_id(), person.user_id, person.key.encode()],
        )
    async with stack.client(person.key) as client, stack.client(stack.admin_key) as admin:
        body = {"engine": "article", "input": {"topic": "bees"}}
        execution_id = (await client.post("/v1/executions", json=body)).json()["id"]
        await _listed(client, execution_id, Status.COMPLETED)
        path = f"/v1/admin/users/{person.user_id}"
        await admin.request("DELETE", path, json={"reason": "test"})

        async def done() -> bool:
            answer = await admin.request("DELETE", path, json={"reason": "test"})
            return bool(answer.json()["state"] == "done")

        await _until(done, 60)
    with psycopg.connect(stack.database_url) as connection:
        query = "SELECT sum(total_tokens) > 0 FROM user_analytics WHERE user_id = %s"
        assert connection.execute(query, [person.user_id]).fetchone() == (True,)
