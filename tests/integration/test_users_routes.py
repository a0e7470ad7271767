"""Users as superadmins manage them: found, made, changed, disabled, with all that follows at once."""

import re
from typing import Any

import httpx
import psycopg
import pytest

from shared.ids import new_id
from shared.tables import SYSTEM_USER_ID
from tests.integration.test_gateway_requests import problem
from tests.support.gateway import Database, Gateway, Person, add_person
from tests.support.identity import PASSWORD, add_member, logged_in

USERS = "/v1/admin/users"


async def created(root: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    given = {"email": f"{new_id()}@example.org", "name": "New", **body}
    answer = await root.post(USERS, json=given)
    assert answer.status_code == 201, answer.text
    user: dict[str, Any] = answer.json()
    return user


async def test_a_created_user_can_log_in_and_is_found(root: httpx.AsyncClient, gateway: Gateway) -> None:
    user = await created(root, email=f"Zoe-{new_id()}@Example.org", password=PASSWORD)
    assert (user["role"], user["email"]) == ("user", user["email"].lower())
    found = (await root.get(USERS, params={"email": user["email"][:20].upper()})).json()
    assert user in found["items"]
    assert (await root.get(f"{USERS}/{user['id']}")).json() == user
    async with gateway.client() as client:
        answer = await client.post("/v1/session", json={"email": user["email"], "password": PASSWORD})
    assert answer.status_code == 200


async def test_a_list_comes_in_pages_newest_first(root: httpx.AsyncClient) -> None:
    mark = new_id()
    users = [await created(root, email=f"{number}-{mark}@example.org") for number in range(5)]
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await root.get(USERS, params={"email": mark, "limit": 2, "cursor": cursor})).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == [user["id"] for user in reversed(users)]
    assert (await root.get(USERS, params={"email": "%"})).json()["items"] == [], "no pattern"
    problem(await root.get(USERS, params={"cursor": "nope"}), 422, "invalid_request")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": "a b@x.org"}, "email"),
        ({"name": ""}, "name"),
        ({"role": "owner"}, "role"),
        ({"password": "short"}, "password"),
        ({"is_admin": True}, "is_admin"),
    ],
)
async def test_a_user_that_can_not_be_made(root: httpx.AsyncClient, body: dict[str, Any], field: str) -> None:
    given = {"email": f"{new_id()}@example.org", "name": "New", **body}
    answer = problem(await root.post(USERS, json=given), 422, "invalid_request")
    assert field in {error["field"] for error in answer["errors"]}


async def test_an_address_belongs_to_one(root: httpx.AsyncClient) -> None:
    user = await created(root)
    answer = await root.post(USERS, json={"email": user["email"].upper(), "name": "Twin"})
    problem(answer, 409, "email_taken")


async def test_a_disabled_user_is_out_at_once_and_back_when_enabled(
    root: httpx.AsyncClient, gateway: Gateway, database: Database
) -> None:
    member, key = add_member(database), Person(new_id(), f"lk_{new_id()}")
    add_person(database, "keyed", key)
    async with logged_in(gateway, member) as session, gateway.client(key) as keyed:
        for who, client in ((member.user_id, session), (key.user_id, keyed)):
            for disabled, expected in ((True, 401), (False, 200)):
                answer = await root.patch(f"{USERS}/{who}", json={"disabled": disabled, "reason": "a test"})
                assert (answer.json()["disabled_at"] is not None) is disabled
                assert (await client.get("/v1/me")).status_code == expected
        await root.patch(f"{USERS}/{member.user_id}", json={"disabled": True})
        again = await session.post("/v1/session", json={"email": member.email, "password": PASSWORD})
        problem(again, 401, "log_in_failed")


async def test_a_role_counts_at_once(root: httpx.AsyncClient, gateway: Gateway, database: Database) -> None:
    member = add_member(database)
    async with logged_in(gateway, member) as client:
        for role, expected in (("user", 403), ("superadmin", 200), ("user", 403)):
            await root.patch(f"{USERS}/{member.user_id}", json={"role": role})
            assert (await client.get(USERS)).status_code == expected


@pytest.mark.parametrize("change", [{"role": "user"}, {"disabled": True}])
async def test_the_last_superadmin_stays(
    root: httpx.AsyncClient, database: Database, change: dict[str, Any]
) -> None:
    root_id = database.people["root"].user_id
    database.execute("update users set role = 'user' where role = 'superadmin' and id <> %s", root_id)
    problem(await root.patch(f"{USERS}/{root_id}", json=change), 409, "last_superadmin")
    assert (await root.get("/v1/me")).json()["role"] == "superadmin"


async def test_a_password_set_by_a_superadmin_ends_the_sessions(
    root: httpx.AsyncClient, gateway: Gateway, database: Database
) -> None:
    member = add_member(database)
    async with logged_in(gateway, member) as client:
        body = {"password": "set by a superadmin", "reason": "forgotten"}
        assert (await root.put(f"{USERS}/{member.user_id}/password", json=body)).status_code == 204
        assert (await client.get("/v1/me")).status_code == 401
        answer = await client.post("/v1/session", json={"email": member.email, "password": body["password"]})
        assert answer.status_code == 200
    with psycopg.connect(database.server.url) as connection:
        query = "select action, reason, details::text from audit where target = %s"
        assert connection.execute(query, [member.user_id]).fetchall() == [
            ("users.password", "forgotten", '{"sessions_ended": 1}')
        ]


@pytest.mark.parametrize(
    "user_id", [new_id(), SYSTEM_USER_ID, "nope", "%00"], ids=["unknown", "system", "word", "zero"]
)
async def test_a_user_that_is_not_there(root: httpx.AsyncClient, user_id: str) -> None:
    problem(await root.get(f"{USERS}/{user_id}"), 404, "user_not_found")
    problem(await root.patch(f"{USERS}/{user_id}", json={"name": "x"}), 404, "user_not_found")
    problem(await root.put(f"{USERS}/{user_id}/password", json={"password": PASSWORD}), 404, "user_not_found")


async def test_only_superadmins_get_to_users(ada: httpx.AsyncClient, anybody: httpx.AsyncClient) -> None:
    for client, status in ((ada, 403), (anybody, 401)):
        for method, path in (
            ("GET", ""),
            ("POST", ""),
            ("PATCH", f"/{new_id()}"),
            ("PUT", f"/{new_id()}/password"),
        ):
            body = {"email": "x@y.z", "name": "x", "password": PASSWORD} if method == "POST" else {}
            body = {"password": PASSWORD} if method == "PUT" else body
            answer = await client.request(method, f"{USERS}{path}", json=body)
            assert (method, answer.status_code) == (method, status)


async def test_no_answer_and_no_audit_holds_a_password(root: httpx.AsyncClient, database: Database) -> None:
    secret = f"secret-{new_id()}"
    user = await created(root, password=secret)
    listed = await root.get(USERS)
    with psycopg.connect(database.server.url) as connection:
        row = connection.execute("select string_agg(audit::text, '') from audit").fetchone()
    assert row is not None
    assert secret not in f"{user}{listed.text}{row[0]}"
    assert not re.search("argon2", f"{user}{listed.text}{row[0]}")
