"""Sessions of the console: a password, two cookies, a guard against other sites, and ends that count at once."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import argon2
import httpx
import psycopg
import pytest
from pydantic import SecretStr

from deploy.local.nats_server import NatsServer
from services.gateway import authenticator, passwords
from tests.integration.test_gateway_requests import GOOD, problem
from tests.support.gateway import Database, Gateway, running_gateway, watching
from tests.support.identity import PASSWORD, Member, add_member, broadcast, eventually, logged_in

SESSION = "/v1/session"


@pytest.fixture
def member(database: Database) -> Member:
    return add_member(database)


async def log_in(client: httpx.AsyncClient, email: str, password: str = PASSWORD) -> httpx.Response:
    return await client.post(SESSION, json={"email": email, "password": password})


async def test_a_log_in_sets_a_cookie_that_no_script_can_read(
    anybody: httpx.AsyncClient, database: Database, member: Member
) -> None:
    answer = await log_in(anybody, member.email.upper())
    assert answer.status_code == 200
    cookies = {line.split("=")[0]: line for line in answer.headers.get_list("set-cookie")}
    assert all(flag in cookies["lekhika_session"] for flag in ("HttpOnly", "SameSite=lax", "Path=/"))
    assert "HttpOnly" not in cookies["lekhika_csrf"]
    assert answer.json()["csrf_token"] in cookies["lekhika_csrf"]
    me = (await anybody.get("/v1/me")).json()
    assert (me["user_id"], me["authenticated_by"]) == (member.user_id, "session")
    secret = answer.cookies["lekhika_session"]
    with psycopg.connect(database.server.url) as connection:
        stored = connection.execute("select string_agg(sessions::text, '') from sessions").fetchone()
    assert stored is not None
    assert secret not in stored[0]


async def test_behind_https_the_cookies_are_for_https_and_this_host_only(
    nats_server: NatsServer, database: Database, member: Member
) -> None:
    async with running_gateway(nats_server, database, https=True) as gateway, gateway.client() as client:
        lines = (await log_in(client, member.email)).headers.get_list("set-cookie")
    assert [line.split("=")[0] for line in lines] == ["__Host-lekhika_session", "lekhika_csrf"]
    assert all("Secure" in line for line in lines)


@pytest.mark.parametrize(
    ("email", "password"), [("known", "wrong"), ("nobody@example.org", PASSWORD), ("system", PASSWORD)]
)
async def test_a_refused_log_in_does_not_tell_why(
    anybody: httpx.AsyncClient, member: Member, email: str, password: str
) -> None:
    answer = await log_in(anybody, member.email if email == "known" else email, password)
    body = problem(answer, 401, "log_in_failed")
    assert body["detail"] == "There is no account with this email address and password."
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("token", [None, "", "wrong", "wröng"])
async def test_another_site_can_change_nothing_with_the_cookie(
    gateway: Gateway, member: Member, token: str | None
) -> None:
    async with logged_in(gateway, member) as client:
        good = client.headers.pop("X-CSRF-Token")
        headers = [] if token is None else [(b"x-csrf-token", token.encode())]
        for method, path in (("POST", "/v1/keys"), ("DELETE", SESSION), ("POST", "/v1/executions/x/stop")):
            answer = await client.request(method, path, json={"name": "x"}, headers=headers)
            problem(answer, 403, "csrf_failed")
        assert (await client.get("/v1/keys")).json()["items"] == []
        answer = await client.post("/v1/keys", json={"name": "x"}, headers={"X-CSRF-Token": good})
        assert answer.status_code == 201


async def test_one_session_s_token_is_not_good_for_another(gateway: Gateway, member: Member) -> None:
    async with logged_in(gateway, member) as one, logged_in(gateway, member) as two:
        two.headers["X-CSRF-Token"] = one.headers["X-CSRF-Token"]
        problem(await two.delete(SESSION), 403, "csrf_failed")


async def test_log_out_ends_this_session_at_once_everywhere(
    gateway: Gateway, nats_server: NatsServer, database: Database, member: Member
) -> None:
    async with (
        running_gateway(nats_server, database) as other,
        logged_in(gateway, member) as client,
        logged_in(gateway, member) as second,
        other.client() as elsewhere,
    ):
        cookies = {"Cookie": f"lekhika_session={client.cookies['lekhika_session']}"}
        assert (await elsewhere.get("/v1/me", headers=cookies)).status_code == 200
        answer = await client.delete(SESSION)
        assert answer.status_code == 204
        assert all("Max-Age=0" in line for line in answer.headers.get_list("set-cookie"))
        await broadcast(gateway, other)
        assert (await elsewhere.get("/v1/me", headers=cookies)).status_code == 401
        assert (await second.get("/v1/me")).status_code == 200


async def test_a_log_in_ends_the_session_that_the_browser_had(gateway: Gateway, member: Member) -> None:
    async with logged_in(gateway, member) as client, gateway.client() as thief:
        former = client.cookies["lekhika_session"]
        assert (await thief.get("/v1/me", headers={"Cookie": f"lekhika_session={former}"})).status_code == 200
        assert (await log_in(client, member.email)).status_code == 200
        assert client.cookies["lekhika_session"] != former
        assert (await thief.get("/v1/me", headers={"Cookie": f"lekhika_session={former}"})).status_code == 401
        assert (await client.get("/v1/me")).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
async def test_a_form_of_another_site_logs_nobody_in(
    anybody: httpx.AsyncClient, member: Member, kind: str
) -> None:
    """Browsers send such a body across sites without asking first."""
    body = json.dumps({"email": member.email, "password": PASSWORD})
    answer = await anybody.post(SESSION, content=body, headers={"Content-Type": kind})
    problem(answer, 422, "invalid_request")
    assert "set-cookie" not in answer.headers


async def test_log_out_everywhere_ends_all_sessions_of_this_user_only(
    gateway: Gateway, database: Database, member: Member
) -> None:
    other = add_member(database)
    async with (
        logged_in(gateway, member) as one,
        logged_in(gateway, member) as two,
        logged_in(gateway, other) as others,
    ):
        assert (await one.post(f"{SESSION}/everywhere")).json() == {"ended": 2}
        assert [(await client.get("/v1/me")).status_code for client in (one, two, others)] == [401, 401, 200]


async def test_a_session_ends_when_it_expires_and_slides_while_it_is_used(
    gateway: Gateway, database: Database, member: Member
) -> None:
    async with logged_in(gateway, member) as client:
        database.execute(
            "update sessions set expires_at = now() + interval '1 minute' where user_id = %s", member.user_id
        )
        assert (await client.get("/v1/me")).status_code == 200

        async def slid() -> bool:
            with psycopg.connect(database.server.url) as connection:
                query = "select expires_at > now() + interval '1 hour' from sessions where user_id = %s"
                row = connection.execute(query, [member.user_id]).fetchone()
            return bool(row and row[0])

        await eventually(slid)
        database.execute("update sessions set expires_at = now() where user_id = %s", member.user_id)
        await gateway.parts.authenticator.changed(member.user_id)
        problem(await client.get("/v1/me"), 401, "unauthorized")


async def test_a_live_view_ends_when_its_session_does(
    gateway: Gateway, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with logged_in(gateway, member) as client:
        execution_id = (await client.post("/v1/executions", json=GOOD)).json()["id"]
        async with watching(client, execution_id) as stream:
            await stream.until("snapshot")
            later = datetime.now(UTC) + timedelta(seconds=gateway.parts.settings.session_idle_seconds)
            monkeypatch.setattr(authenticator, "_now", lambda: later)
            await stream.closed()


async def test_sessions_that_are_over_are_removed_also_of_people_who_do_not_come_again(
    nats_server: NatsServer, gateway: Gateway, database: Database, member: Member
) -> None:
    query = "select count(*) from sessions where user_id = %s"
    async with logged_in(gateway, member), logged_in(gateway, member):
        database.execute(
            "update sessions set expires_at = now() where id = (select id from sessions where user_id = %s limit 1)",
            member.user_id,
        )
    async with running_gateway(nats_server, database):

        async def one_is_left() -> bool:
            with psycopg.connect(database.server.url) as connection:
                return connection.execute(query, [member.user_id]).fetchone() == (1,)

        await eventually(one_is_left)


async def test_no_use_keeps_a_session_beyond_its_longest_time(
    nats_server: NatsServer, database: Database, member: Member
) -> None:
    async with (
        running_gateway(nats_server, database, session_seconds=60, session_idle_seconds=3600) as gateway,
        logged_in(gateway, member) as client,
    ):
        await client.get("/v1/me")
        with psycopg.connect(database.server.url) as connection:
            query = (
                "select max(expires_at - created_at) <= interval '1 minute' from sessions where user_id = %s"
            )
            assert connection.execute(query, [member.user_id]).fetchone() == (True,)


async def test_a_changed_password_ends_the_other_sessions(gateway: Gateway, member: Member) -> None:
    fresh = "another horse battery"
    async with logged_in(gateway, member) as here, logged_in(gateway, member) as there:
        change = {"current_password": "wrong", "new_password": fresh}
        problem(await here.put("/v1/me/password", json=change), 403, "wrong_password")
        change["current_password"] = PASSWORD
        short = await here.put("/v1/me/password", json={**change, "new_password": "short"})
        assert problem(short, 422, "invalid_request")["errors"][0]["field"] == "new_password"
        assert PASSWORD not in short.text
        assert (await here.put("/v1/me/password", json=change)).status_code == 204
        assert [(await client.get("/v1/me")).status_code for client in (here, there)] == [200, 401]
    async with gateway.client() as client:
        assert (await log_in(client, member.email)).status_code == 401
        assert (await log_in(client, member.email, fresh)).status_code == 200


@pytest.fixture
def overtaken(
    gateway: Gateway, database: Database, member: Member, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Whenever a password was found to be the right one, somebody else changes it the next moment."""
    other = passwords.digest(SecretStr("another horse battery"))
    real = gateway.parts.passwords.fits

    async def fits(known: str | None, password: SecretStr) -> bool:
        found = await real(known, password)
        database.execute("update user_passwords set digest = %s where user_id = %s", other, member.user_id)
        return found

    monkeypatch.setattr(gateway.parts.passwords, "fits", fits)
    yield
    with psycopg.connect(database.server.url) as connection:
        query = "select digest from user_passwords where user_id = %s"
        assert connection.execute(query, [member.user_id]).fetchone() == (other,), (
            "the change that came first stays"
        )


@pytest.mark.usefixtures("overtaken")
async def test_no_log_in_with_the_old_password_outlives_its_change(
    anybody: httpx.AsyncClient, member: Member
) -> None:
    answer = await log_in(anybody, member.email)
    problem(answer, 401, "log_in_failed")
    assert "set-cookie" not in answer.headers


async def test_whoever_changes_the_password_must_know_the_one_of_that_moment(
    gateway: Gateway, member: Member, request: pytest.FixtureRequest
) -> None:
    async with logged_in(gateway, member) as client:
        request.getfixturevalue("overtaken")
        change = {"current_password": PASSWORD, "new_password": "a third horse battery"}
        problem(await client.put("/v1/me/password", json=change), 403, "wrong_password")


async def test_without_a_password_there_is_none_to_change(ada: httpx.AsyncClient) -> None:
    change = {"current_password": PASSWORD, "new_password": PASSWORD}
    problem(await ada.put("/v1/me/password", json=change), 409, "no_password")
    problem(await ada.delete(SESSION), 409, "no_session")


async def test_a_digest_of_other_parameters_is_made_anew_at_log_in(
    anybody: httpx.AsyncClient, database: Database
) -> None:
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    member = add_member(database, digest=weak)
    assert (await log_in(anybody, member.email)).status_code == 200
    with psycopg.connect(database.server.url) as connection:
        query = "select digest from user_passwords where user_id = %s"
        row = connection.execute(query, [member.user_id]).fetchone()
    assert row is not None
    assert "m=19456,t=2,p=1" in row[0]
    assert (await log_in(anybody, member.email)).status_code == 200
