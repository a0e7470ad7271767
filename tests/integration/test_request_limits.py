"""Too much of something is answered with 429 and when to come again; a stop never is."""

import secrets

import httpx
import pytest

from deploy.local.nats_server import NatsServer
from shared.ids import new_id
from tests.integration.test_gateway_requests import GOOD, problem
from tests.support.gateway import Database, Gateway, running_gateway
from tests.support.identity import PASSWORD, add_member, logged_in


async def test_requests_of_one_key_are_limited_but_its_stops_are_not(
    nats_server: NatsServer, database: Database
) -> None:
    slow = {"requests_per_second": 0.01, "requests_burst": 3}
    async with (
        running_gateway(nats_server, database, **slow) as gateway,
        gateway.client(database.people["ada"]) as ada,
        gateway.client(database.people["ben"]) as ben,
    ):
        execution_id = (await ada.post("/v1/executions", json=GOOD)).json()["id"]
        answers = [await ada.get("/v1/me") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        problem(answers[-1], 429, "rate_limited")
        assert 90 <= int(answers[-1].headers["retry-after"]) <= 100
        assert (await ben.get("/v1/me")).status_code == 200
        for _ in range(5):
            assert (await ada.post(f"/v1/executions/{execution_id}/stop")).status_code in (200, 202)


async def asked(gateway: Gateway, address: str, **headers: str) -> httpx.Response:
    async with gateway.client() as client:
        return await client.get("/v1/me", headers={"X-Forwarded-For": address, **headers})


async def test_keys_that_nobody_has_are_limited_per_address_and_remembered_ones_go_on(
    nats_server: NatsServer, database: Database
) -> None:
    ada, ben = (database.people[name].headers for name in ("ada", "ben"))
    few = {"unknown_keys_per_second": 0.01, "unknown_keys_burst": 3, "trusted_proxies": "127.0.0.0/8"}
    async with running_gateway(nats_server, database, **few) as gateway:
        assert (await asked(gateway, "192.0.2.1", **ada)).status_code == 200
        guesses = [await asked(gateway, "192.0.2.1", Authorization=f"Bearer lk_{new_id()}") for _ in range(4)]
        assert [answer.status_code for answer in guesses] == [401, 401, 401, 429]
        problem(guesses[-1], 429, "too_many_attempts")
        assert 90 <= int(guesses[-1].headers["retry-after"]) <= 100
        assert (await asked(gateway, "192.0.2.1", **ada)).status_code == 200, "it is remembered"
        assert (await asked(gateway, "192.0.2.1", Authorization="Bearer lk_short")).status_code == 401
        assert (await asked(gateway, "192.0.2.1", **ben)).status_code == 429
        assert (await asked(gateway, "192.0.2.2", **ben)).status_code == 200
        assert (await asked(gateway, "192.0.2.1", **ben)).status_code == 200, "now it is remembered too"


async def test_sessions_that_nobody_has_are_limited_like_keys(
    nats_server: NatsServer, database: Database
) -> None:
    few = {"unknown_keys_per_second": 0.01, "unknown_keys_burst": 2}
    async with running_gateway(nats_server, database, **few) as gateway:
        cookies = [f"lekhika_session={secrets.token_urlsafe(32)}" for _ in range(3)]
        assert [(await asked(gateway, "", Cookie=cookie)).status_code for cookie in cookies] == [
            401,
            401,
            429,
        ]


async def test_good_keys_that_are_not_remembered_do_not_count_as_unknown(
    nats_server: NatsServer, database: Database
) -> None:
    few = {"unknown_keys_per_second": 0.01, "unknown_keys_burst": 2}
    async with running_gateway(nats_server, database, **few) as gateway:
        for _ in range(5):
            assert (await asked(gateway, "", **database.people["ada"].headers)).status_code == 200
            await gateway.parts.authenticator.changed("")


async def tried(gateway: Gateway, email: str, password: str = "wrong", **headers: str) -> httpx.Response:
    async with gateway.client() as client:
        return await client.post("/v1/session", json={"email": email, "password": password}, headers=headers)


async def test_log_ins_are_limited_per_email_and_a_good_one_clears_it(
    nats_server: NatsServer, database: Database
) -> None:
    member = add_member(database)
    async with running_gateway(nats_server, database, login_attempts_per_email=3) as gateway:
        for round_ in range(2):
            assert [(await tried(gateway, member.email)).status_code for _ in range(2)] == [401, 401], round_
            assert (await tried(gateway, member.email, PASSWORD)).status_code == 200
        assert [(await tried(gateway, member.email.upper())).status_code for _ in range(3)] == [401] * 3
        refused = await tried(gateway, member.email, PASSWORD)
        problem(refused, 429, "too_many_attempts")
        assert 290 <= int(refused.headers["retry-after"]) <= 300
        assert (await tried(gateway, f"{new_id()}@example.org")).status_code == 401


async def test_good_log_ins_are_limited_too(nats_server: NatsServer, database: Database) -> None:
    """Each costs a core for a while: who knows one password must not keep everybody else out."""
    member, other = add_member(database), add_member(database)
    async with running_gateway(nats_server, database, login_attempts_per_email=1) as gateway:
        seen = [(await tried(gateway, member.email, PASSWORD)).status_code for _ in range(11)]
        assert seen == [200] * 10 + [429]
        assert (await tried(gateway, other.email, PASSWORD)).status_code == 200


@pytest.mark.parametrize(
    ("proxies", "expected"), [("127.0.0.0/8", [401, 401, 429, 401]), ("", [401, 401, 429, 429])]
)
async def test_log_ins_are_limited_per_address_and_only_a_trusted_proxy_names_it(
    nats_server: NatsServer, database: Database, proxies: str, expected: list[int]
) -> None:
    settings = {"login_attempts_per_address": 2, "trusted_proxies": proxies}
    async with running_gateway(nats_server, database, **settings) as gateway:
        seen = [
            (await tried(gateway, f"{new_id()}@example.org", **{"X-Forwarded-For": address})).status_code
            for address in ("6.6.6.6, 192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2")
        ]
    assert seen == expected


async def test_guesses_at_the_current_password_are_limited_too(
    nats_server: NatsServer, database: Database
) -> None:
    member = add_member(database)
    async with (
        running_gateway(nats_server, database, login_attempts_per_email=3) as gateway,
        logged_in(gateway, member) as client,
    ):
        change = {"current_password": "wrong", "new_password": "another horse battery"}
        seen = [(await client.put("/v1/me/password", json=change)).status_code for _ in range(4)]
    assert seen == [403, 403, 403, 429]
