"""Tokens of an identity provider, whose keys come over HTTP: who is let in, who is created, what a lost provider costs."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import psycopg
import pytest

from deploy.local.nats_server import NatsServer
from services.gateway import authenticator, identity_store, provider_keys
from services.gateway.identity_tokens import Claims
from shared.ids import new_id
from tests.integration.test_gateway_requests import GOOD, problem
from tests.support.gateway import Database, Gateway, Person, running_gateway, watching
from tests.support.identity import Provider, broadcast, provider


async def me(gateway: Gateway, token: str) -> httpx.Response:
    async with gateway.client() as client:
        return await client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})


def identities(database: Database, subject: str) -> list[Any]:
    with psycopg.connect(database.server.url) as connection:
        query = "select user_id::text from user_identities where subject = %s"
        return [row[0] for row in connection.execute(query, [subject]).fetchall()]


async def test_the_first_sight_of_a_subject_creates_the_user_once(
    trusting: Gateway, database: Database, idp: Provider
) -> None:
    subject, email = new_id(), f"{new_id()}@Example.org"
    token = idp.token("first", sub=subject, email=email, name="Zoe")
    answers = await asyncio.gather(*(me(trusting, token) for _ in range(8)))
    (user_id,) = {answer.json()["user_id"] for answer in answers}
    body = answers[0].json()
    assert (body["email"], body["name"], body["role"]) == (email.lower(), "Zoe", "user")
    assert body["authenticated_by"] == "token"
    assert identities(database, subject) == [user_id]
    again = await me(trusting, idp.token("first", sub=subject))
    assert again.json()["user_id"] == user_id


async def test_who_asks_while_the_user_is_created_does_not_make_the_first_one_be_refused(
    trusting: Gateway, idp: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second request reads just before the first one writes, and has its answer just after."""
    token = idp.token("first", sub=new_id())
    memory, create = trusting.parts.authenticator._identities, identity_store.create
    find, asked, read, answers = memory._ask, 0, asyncio.Event(), asyncio.Event()

    async def slow(identity: tuple[str, str]) -> Any:
        nonlocal asked
        asked += 1
        found = await find(identity)
        if asked == 2:
            read.set()
            await answers.wait()
        return found

    async def overtaken(db: Any, claims: Claims) -> None:
        second = asyncio.create_task(memory.get((claims.issuer, claims.subject)))
        await read.wait()
        await create(db, claims)
        answers.set()
        second.add_done_callback(lambda _: None)

    monkeypatch.setattr(memory, "_ask", slow)
    monkeypatch.setattr(identity_store, "create", overtaken)
    assert (await me(trusting, token)).status_code == 200


async def test_two_gateways_create_one_user(
    trusting: Gateway, nats_server: NatsServer, database: Database, idp: Provider
) -> None:
    async with running_gateway(nats_server, database, **idp.settings()) as other:
        for _ in range(5):
            token = idp.token("first", sub=new_id())
            answers = await asyncio.gather(me(trusting, token), me(other, token))
            assert len({answer.json()["user_id"] for answer in answers}) == 1


async def test_an_address_that_somebody_has_leads_to_nobodys_account(
    trusting: Gateway, database: Database, idp: Provider
) -> None:
    ada = database.people["ada"].user_id
    taken = f"ada-{ada}@example.org"
    body = (await me(trusting, idp.token("first", sub=new_id(), email=taken, role="superadmin"))).json()
    assert body["user_id"] != ada
    assert (body["email"], body["role"]) == (None, "user")


async def test_an_address_that_was_not_verified_is_not_taken(trusting: Gateway, idp: Provider) -> None:
    token = idp.token("first", sub=new_id(), email=f"{new_id()}@example.org", email_verified=False)
    assert (await me(trusting, token)).json()["email"] is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"exp": 1}, "expired"),
        ({"aud": "another"}, "another audience"),
        ({"iss": "https://elsewhere.example"}, "another issuer"),
        ({"exp": None}, "no claim 'exp'"),
        ({"aud": None}, "no claim 'aud'"),
        ({"iss": None}, "no claim 'iss'"),
        ({"sub": None}, "no claim 'sub'"),
        ({"sub": ""}, "'sub'"),
        ({"sub": "x" * 256}, "'sub'"),
        ({"sub": "a\0b"}, "'sub'"),
        ({"sub": "a\ud800"}, "'sub'"),
        ({"nbf": 4_000_000_000}, "not valid"),
    ],
)
async def test_a_token_that_is_not_good_is_refused(
    trusting: Gateway, idp: Provider, changes: dict[str, Any], says: str
) -> None:
    body = problem(await me(trusting, idp.token("first", **changes)), 401, "unauthorized")
    assert says in body["detail"]


async def test_the_clocks_may_differ_by_the_leeway(trusting: Gateway, idp: Provider) -> None:
    now = jwt.decode(idp.token("first"), options={"verify_signature": False})["iat"]
    assert (await me(trusting, idp.token("first", exp=now - 20, iat=now + 20))).status_code == 200
    assert (await me(trusting, idp.token("first", exp=now - 40))).status_code == 401


async def test_a_live_view_ends_when_its_token_expires(
    trusting: Gateway, idp: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the leeway, and not before."""
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    token = idp.token("first", sub=new_id(), exp=int(ends.timestamp()))
    async with trusting.client(Person("", token)) as client:
        execution_id = (await client.post("/v1/executions", json=GOOD)).json()["id"]
        async with watching(client, execution_id) as stream:
            await stream.until("snapshot")
            monkeypatch.setattr(authenticator, "_now", lambda: ends + timedelta(seconds=29))
            async with watching(client, execution_id) as another:
                await another.until("snapshot")
            monkeypatch.setattr(authenticator, "_now", lambda: ends + timedelta(seconds=30))
            await stream.closed()


async def test_a_token_may_be_made_out_for_ever(trusting: Gateway, idp: Provider) -> None:
    assert (await me(trusting, idp.token("first", sub=new_id(), exp=10**18))).status_code == 200


async def test_only_the_provider_can_sign(trusting: Gateway, idp: Provider) -> None:
    good = idp.token("first")
    claims = jwt.decode(good, options={"verify_signature": False})
    head, body, signature = good.split(".")
    stranger = Provider(idp.url)
    stranger.new_key("first")
    public = str(idp._public("first"))
    forged = [
        stranger.token("first"),
        jwt.encode(claims, "", algorithm="none", headers={"kid": "first"}),
        jwt.encode(claims, public.ljust(64, "x"), algorithm="HS256", headers={"kid": "first"}),
        f"{head}.{body}.{'A' * len(signature)}",
        f"{head}.{body[:-4]}AAAA.{signature}",
        f"{head}.{body}.x",
        "e30.e30.e30",
        f"{base64.urlsafe_b64encode(b'[' * 9000).decode()}.e30.e30",  # deeper than Python's own stack
        "a.b.c",
    ]
    for token in forged:
        problem(await me(trusting, token), 401, "unauthorized")


async def test_a_new_key_is_fetched_at_its_first_sight(trusting: Gateway, idp: Provider) -> None:
    idp.new_key("second")
    assert (await me(trusting, idp.token("second"))).status_code == 200
    assert (await me(trusting, idp.token("first"))).status_code == 200


async def test_unknown_keys_do_not_make_it_ask_without_end(
    nats_server: NatsServer, database: Database, idp: Provider
) -> None:
    stranger = Provider(idp.url)
    stranger.new_key("of nobody")
    async with running_gateway(nats_server, database, **idp.settings(token_refetch_seconds=600)) as gateway:
        before = idp.asked
        for _ in range(10):
            problem(await me(gateway, stranger.token("of nobody")), 401, "unauthorized")
        assert idp.asked == before + 1


async def test_known_keys_work_while_the_provider_is_away(
    nats_server: NatsServer, database: Database
) -> None:
    async with provider() as idp:
        settings = idp.settings(token_refetch_seconds=0.001, token_keys_seconds=0.001)
        async with running_gateway(nats_server, database, **settings) as gateway:
            idp.healthy = False
            assert (await me(gateway, idp.token("first"))).status_code == 503, "no key was ever known"
            idp.healthy = True
            assert (await me(gateway, idp.token("first"))).status_code == 200
            idp.healthy = False
            for _ in range(3):
                assert (await me(gateway, idp.token("first"))).status_code == 200
            idp.new_key("unseen")
            assert (await me(gateway, idp.token("unseen"))).status_code == 503
            idp.healthy = True
            assert (await me(gateway, idp.token("unseen"))).status_code == 200


async def test_keys_that_never_come_whole_are_not_waited_for(
    nats_server: NatsServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_keys, "FETCH_SECONDS", 0.5)
    async with provider() as idp, running_gateway(nats_server, database, **idp.settings()) as gateway:
        idp.endless = True
        assert (await me(gateway, idp.token("first"))).status_code == 503


async def test_a_disabled_user_s_token_is_refused_and_creates_nobody(
    trusting: Gateway, gateway: Gateway, database: Database, idp: Provider, root: httpx.AsyncClient
) -> None:
    subject = new_id()
    token = idp.token("first", sub=subject)
    user_id = (await me(trusting, token)).json()["user_id"]
    await root.patch(f"/v1/admin/users/{user_id}", json={"disabled": True})
    await broadcast(gateway, trusting)
    problem(await me(trusting, token), 401, "unauthorized")
    assert identities(database, subject) == [user_id]


async def test_without_a_provider_a_token_is_a_key_that_is_none(gateway: Gateway, idp: Provider) -> None:
    problem(await me(gateway, idp.token("first")), 401, "unauthorized")
