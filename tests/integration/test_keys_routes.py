"""API keys over HTTP: shown once, limited by scopes, revoked at once, replaced with an overlap."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import psycopg
import pytest
from nats.errors import OutboundBufferLimitError

from deploy.local.nats_server import NatsServer
from services.gateway import authenticator
from services.gateway.keys import MOST_KEYS
from services.gateway.remembered import Ages
from services.gateway.scopes import ALL, Scope, needed
from shared.ids import new_id
from shared.tables import SYSTEM_USER_ID
from tests.integration.test_gateway_requests import GOOD, problem
from tests.support.gateway import Database, Gateway, Person, add_person, running_gateway, watching
from tests.support.identity import broadcast, eventually


@pytest.fixture
def cleo(database: Database) -> Person:
    """Somebody of this test alone."""
    person = Person(new_id(), f"lk_{new_id()}")
    add_person(database, "cleo", person)
    return person


async def made(gateway: Gateway, person: Person, **body: Any) -> dict[str, Any]:
    async with gateway.client(person) as client:
        answer = await client.post("/v1/keys", json={"name": "made", **body})
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


async def status_of(gateway: Gateway, key: str, method: str = "GET", path: str = "/v1/me") -> int:
    async with gateway.client(Person("", key)) as client:
        return (await client.request(method, path)).status_code


async def test_a_key_is_shown_once_and_stored_as_a_digest(
    gateway: Gateway, database: Database, cleo: Person
) -> None:
    key = await made(gateway, cleo)
    assert key["key"].startswith("lk_")
    async with gateway.client(cleo) as client:
        answer = await client.get("/v1/keys")
    assert key["key"] not in answer.text
    assert answer.json()["items"][0]["id"] == key["id"]
    with psycopg.connect(database.server.url) as connection:
        row = connection.execute("select api_keys::text from api_keys where id = %s", [key["id"]]).fetchone()
    assert row is not None
    assert key["key"] not in row[0]
    assert await status_of(gateway, key["key"]) == 200


async def test_a_revoked_key_ends_at_once_at_every_gateway(
    gateway: Gateway, nats_server: NatsServer, database: Database, cleo: Person
) -> None:
    key = await made(gateway, cleo)
    async with running_gateway(nats_server, database) as other, gateway.client(cleo) as client:
        assert [await status_of(here, key["key"]) for here in (gateway, other)] == [200, 200]
        assert (await client.delete(f"/v1/keys/{key['id']}")).status_code == 204
        assert await status_of(gateway, key["key"]) == 401
        await broadcast(gateway, other)
        assert await status_of(other, key["key"]) == 401
        assert (await client.delete(f"/v1/keys/{key['id']}")).status_code == 204, "twice is the same"


async def test_a_rotated_key_is_good_until_the_overlap_ends(gateway: Gateway, cleo: Person) -> None:
    for overlap, expected in ((3600, 200), (0, 401)):
        old = await made(gateway, cleo, scopes=["usage:read", "executions:read"])
        async with gateway.client(cleo) as client:
            answer = await client.post(f"/v1/keys/{old['id']}/rotate", json={"overlap_seconds": overlap})
        assert answer.status_code == 201, answer.text
        fresh = answer.json()
        assert (fresh["name"], fresh["scopes"]) == (old["name"], ["executions:read", "usage:read"])
        assert await status_of(gateway, fresh["key"]) == 200
        assert await status_of(gateway, old["key"]) == expected


async def test_a_new_key_gets_to_its_owner_also_if_nobody_can_be_told(
    gateway: Gateway, cleo: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise OutboundBufferLimitError

    old = await made(gateway, cleo)
    async with gateway.client(cleo) as client:
        monkeypatch.setattr(gateway.parts.authenticator, "_nc", SimpleNamespace(publish=refuse))
        answer = await client.post(f"/v1/keys/{old['id']}/rotate", json={"overlap_seconds": 0})
    assert answer.status_code == 201, answer.text
    assert await status_of(gateway, answer.json()["key"]) == 200
    assert await status_of(gateway, old["key"]) == 401


async def test_a_rotated_key_lives_as_long_as_the_old_one_was_meant_to(
    gateway: Gateway, cleo: Person
) -> None:
    ends = datetime.now(UTC) + timedelta(days=10)
    old = await made(gateway, cleo, expires_at=ends.isoformat())
    async with gateway.client(cleo) as client:
        fresh = (await client.post(f"/v1/keys/{old['id']}/rotate", json={})).json()
        assert abs(datetime.fromisoformat(fresh["expires_at"]) - ends) < timedelta(minutes=1)
        await client.delete(f"/v1/keys/{old['id']}")
        problem(await client.post(f"/v1/keys/{old['id']}/rotate", json={}), 409, "key_ended")


@pytest.mark.parametrize(
    ("scope", "method", "path", "allowed"),
    [
        ("executions:read", "GET", "/v1/executions", True),
        ("executions:read", "POST", "/v1/executions", False),
        ("executions:write", "POST", "/v1/executions", True),
        ("executions:write", "GET", "/v1/executions", False),
        ("engines:read", "GET", "/v1/engines", True),
        ("engines:read", "GET", "/v1/models", True),
        ("engines:read", "DELETE", "/v1/engines/x", False),
        ("engines:write", "DELETE", "/v1/engines/x", True),
        ("usage:read", "GET", "/v1/usage", True),
        ("usage:read", "GET", "/v1/executions", False),
        ("admin", "GET", "/v1/keys", False),
        ("keys:read", "GET", "/v1/keys", True),
        ("keys:read", "POST", "/v1/keys", False),
        ("usage:read", "GET", "/v1/me", True),
        ("usage:read", "PUT", "/v1/me/password", False),
    ],
)
async def test_a_scope_opens_its_calls_and_no_others(
    gateway: Gateway, cleo: Person, scope: str, method: str, path: str, allowed: bool
) -> None:
    key = await made(gateway, cleo, scopes=[scope])
    async with gateway.client(Person("", key["key"])) as client:
        answer = await client.request(method, path)
    if allowed:
        assert answer.status_code not in (401, 403), answer.text
    else:
        body = problem(answer, 403, "scope_missing")
        assert body["scope"] in set(Scope)
        assert body["scope"] in body["detail"]


async def test_the_scope_admin_needs_the_role_too(gateway: Gateway, database: Database, cleo: Person) -> None:
    root = database.people["root"]
    for person, expected in ((cleo, 403), (root, 200)):
        key = await made(gateway, person, scopes=["admin"])
        assert await status_of(gateway, key["key"], path="/v1/admin/users") == expected
    narrow = await made(gateway, root, scopes=["usage:read"])
    assert await status_of(gateway, narrow["key"], path="/v1/admin/users") == 403


async def test_a_key_with_scopes_makes_no_wider_key(gateway: Gateway, cleo: Person) -> None:
    wide = await made(gateway, cleo)
    key = await made(gateway, cleo, scopes=["keys:write", "usage:read"])
    async with gateway.client(Person("", key["key"])) as client:
        for scopes in ([], ["admin"], ["usage:read", "executions:write"]):
            answer = await client.post("/v1/keys", json={"name": "wider", "scopes": scopes})
            problem(answer, 403, "scope_missing")
        problem(await client.post(f"/v1/keys/{wide['id']}/rotate", json={}), 403, "scope_missing")
        assert (
            await client.post("/v1/keys", json={"name": "x", "scopes": ["usage:read"]})
        ).status_code == 201


async def test_any_key_that_may_write_keys_can_end_a_leaked_one(gateway: Gateway, cleo: Person) -> None:
    """Decided so, though it may not make or rotate such a key (docs/identity.md)."""
    leaked, narrow = await made(gateway, cleo), await made(gateway, cleo, scopes=["keys:write"])
    async with gateway.client(Person("", narrow["key"])) as client:
        assert (await client.delete(f"/v1/keys/{leaked['id']}")).status_code == 204
    assert await status_of(gateway, leaked["key"]) == 401


@pytest.mark.parametrize(
    "key",
    [
        "lk_",
        "lk_short",
        "lk_" + "a" * 300,
        "lk_" + "ü" * 20,
        "nothing",
        "a.b.c",
        "lk_" + "z" * 43,
        "lk_a b",
    ],
)
async def test_a_key_that_is_none_gets_401(gateway: Gateway, key: str) -> None:
    async with gateway.client() as client:
        answer = await client.get("/v1/me", headers=[(b"Authorization", f"Bearer {key}".encode())])
        problem(answer, 401, "unauthorized")
        for given in (key, "Bearer", f"Basic {key}"):
            answer = await client.get("/v1/me", headers=[(b"Authorization", given.encode())])
            problem(answer, 401, "unauthorized")


async def test_an_expired_key_gets_401(gateway: Gateway, database: Database, cleo: Person) -> None:
    key = await made(gateway, cleo, expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert await status_of(gateway, key["key"]) == 200
    database.execute("update api_keys set expires_at = now() where id = %s", key["id"])
    await gateway.parts.authenticator.changed(key["id"])
    assert await status_of(gateway, key["key"]) == 401


async def test_a_use_is_noted_beside_the_request(gateway: Gateway, cleo: Person) -> None:
    key = await made(gateway, cleo)
    assert await status_of(gateway, key["key"]) == 200

    async def noted() -> bool:
        async with gateway.client(cleo) as client:
            items = (await client.get("/v1/keys")).json()["items"]
        return any(item["id"] == key["id"] and item["last_used_at"] for item in items)

    await eventually(noted)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x", "scopes": ["nope"]}, "scopes.0"),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00"}, "expires_at"),
        ({"name": "x", "key": "lk_mine"}, "key"),
    ],
)
async def test_a_key_that_can_not_be_made(ada: httpx.AsyncClient, body: dict[str, Any], field: str) -> None:
    answer = problem(await ada.post("/v1/keys", json=body), 422, "invalid_request")
    assert field in {error["field"] for error in answer["errors"]}


async def test_somebody_elses_key_is_not_there(
    ben: httpx.AsyncClient, gateway: Gateway, cleo: Person
) -> None:
    key = await made(gateway, cleo)
    for key_id in (key["id"], new_id(), "nope", "%00"):
        problem(await ben.delete(f"/v1/keys/{key_id}"), 404, "key_not_found")
        problem(await ben.post(f"/v1/keys/{key_id}/rotate", json={}), 404, "key_not_found")
    assert await status_of(gateway, key["key"]) == 200


async def test_a_user_has_a_bounded_number_of_keys(
    gateway: Gateway, database: Database, cleo: Person
) -> None:
    database.execute(
        "insert into api_keys (id, user_id, prefix, digest, name)"
        " select gen_random_uuid(), %s, 'lk_many_', sha256(convert_to(%s || n, 'UTF8')), 'many'"
        " from generate_series(2, %s) n",
        cleo.user_id,
        cleo.user_id,
        MOST_KEYS,
    )
    async with gateway.client(cleo) as client:
        problem(await client.post("/v1/keys", json={"name": "one more"}), 409, "too_many_keys")


async def test_what_is_done_with_keys_is_in_the_audit(
    gateway: Gateway, database: Database, cleo: Person
) -> None:
    key = await made(gateway, cleo)
    async with gateway.client(cleo) as client:
        fresh = (await client.post(f"/v1/keys/{key['id']}/rotate", json={})).json()
        await client.delete(f"/v1/keys/{key['id']}")
    with psycopg.connect(database.server.url) as connection:
        query = "select action, target::text, details::text from audit where actor = %s order by at, id"
        lines = connection.execute(query, [cleo.user_id]).fetchall()
    assert [(action, target) for action, target, _ in lines] == [
        ("keys.create", key["id"]),
        ("keys.rotate", fresh["id"]),
        ("keys.revoke", key["id"]),
    ]
    assert not any(text in line[2] for line in lines for text in (key["key"], fresh["key"], key["name"]))


async def test_a_superadmin_sees_and_revokes_the_keys_of_others(
    gateway: Gateway, database: Database, cleo: Person, root: httpx.AsyncClient
) -> None:
    key = await made(gateway, cleo)
    keys = f"/v1/admin/users/{cleo.user_id}/keys"
    listed = await root.get(keys)
    assert key["id"] in [item["id"] for item in listed.json()["items"]]
    assert key["key"] not in listed.text
    assert await status_of(gateway, key["key"]) == 200
    for _ in range(2):  # twice is the same
        answer = await root.delete(f"{keys}/{key['id']}", params={"reason": "found in a log"})
        assert answer.status_code == 204
    assert await status_of(gateway, key["key"]) == 401
    (act,) = (
        await root.get("/v1/admin/audit", params={"target": key["id"], "action": "keys.revoke"})
    ).json()["items"]
    assert (act["actor"], act["reason"]) == (database.people["root"].user_id, "found in a log")
    assert act["details"] == {"user_id": cleo.user_id}


async def test_a_superadmin_is_told_what_is_not_there(root: httpx.AsyncClient, cleo: Person) -> None:
    for user_id in (new_id(), "nope", SYSTEM_USER_ID):
        problem(await root.get(f"/v1/admin/users/{user_id}/keys"), 404, "user_not_found")
        problem(await root.delete(f"/v1/admin/users/{user_id}/keys/{new_id()}"), 404, "user_not_found")
    for key_id in (new_id(), "nope"):
        problem(await root.delete(f"/v1/admin/users/{cleo.user_id}/keys/{key_id}"), 404, "key_not_found")


async def test_a_live_view_ends_with_its_key(gateway: Gateway, cleo: Person) -> None:
    key = await made(gateway, cleo)
    async with gateway.client(Person("", key["key"])) as client, gateway.client(cleo) as owner:
        execution_id = (await client.post("/v1/executions", json=GOOD)).json()["id"]
        async with watching(client, execution_id) as stream:
            await stream.until("snapshot")
            await owner.delete(f"/v1/keys/{key['id']}")
            await stream.closed()
        assert (await client.get(f"/v1/executions/{execution_id}/events")).status_code == 401


async def test_a_live_view_ends_when_its_key_expires(
    gateway: Gateway, cleo: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = datetime.now(UTC) + timedelta(hours=1)
    key = await made(gateway, cleo, expires_at=ends.isoformat())
    async with gateway.client(Person("", key["key"])) as client:
        execution_id = (await client.post("/v1/executions", json=GOOD)).json()["id"]
        async with watching(client, execution_id) as stream:
            await stream.until("snapshot")
            monkeypatch.setattr(authenticator, "_now", lambda: ends)
            await stream.closed()
        assert (await client.get(f"/v1/executions/{execution_id}/events")).status_code == 401


@pytest.mark.parametrize("change", ["revoked_at = now()", "scopes = '{usage:read}'"])
async def test_a_live_view_ends_with_its_key_also_if_nobody_tells(
    gateway: Gateway, database: Database, cleo: Person, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """A broadcast can be lost: what is remembered is read again, here at once."""
    key = await made(gateway, cleo)
    async with gateway.client(Person("", key["key"])) as client:
        execution_id = (await client.post("/v1/executions", json=GOOD)).json()["id"]
        async with watching(client, execution_id) as stream:
            await stream.until("snapshot")
            monkeypatch.setattr(
                gateway.parts.authenticator._keys, "_ages", Ages(fresh=0.0, soon=0.0, stale=3600.0)
            )
            database.execute(f"update api_keys set {change} where id = %s", key["id"])
            await stream.closed()


async def test_every_route_has_its_scope(anybody: httpx.AsyncClient) -> None:
    paths = (await anybody.get("/openapi.json")).json()["paths"]
    calls = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    assert [call for call in calls if needed(*call) == ALL] == [], "decide in services/gateway/scopes.py"
