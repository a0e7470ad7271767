"""Every route of the gateway, what it should answer to whom, and requests that are good but for who sends them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from services.gateway.data_subjects import CONFIRMATION
from shared.ids import new_id
from tests.support.gateway import Database, Person, add_person
from tests.support.identity import Provider

METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The intended status for whoever made the thing that is asked for, for another user, and for a superadmin."""

    owner: int
    other: int
    superadmin: int
    nobody: int = 401
    """Also with a key that is expired, revoked or malformed, and with a token that is not good."""
    body: Any = None


def _own(status: int, body: Any = None) -> Rule:
    """The maker's alone; others are told that there is no such thing."""
    return Rule(owner=status, other=404, superadmin=404, body=body)


def _each(status: int, body: Any = None) -> Rule:
    """About the caller, or about nobody: everyone who is somebody."""
    return Rule(owner=status, other=status, superadmin=status, body=body)


def _admin(status: int, body: Any = None) -> Rule:
    return Rule(owner=403, other=403, superadmin=status, body=body)


ENGINE = {
    "name": "Anybody's",
    "nodes": [{"id": "text", "kind": "template", "template": "hello"}],
    "output": "text",
}
NEW_PASSWORD = {"current_password": "a pass phrase", "new_password": "a pass phrase of many words"}
PRICES = {"input": "1", "output": "2", "valid_from": "2031-01-01T00:00:00Z"}

RULES: Mapping[str, Rule] = {
    "POST /v1/executions": _each(202, {"engine": "book", "input": {"topic": "Bees"}}),
    "GET /v1/executions": _each(200),
    "GET /v1/executions/{execution_id}": _own(200),
    "POST /v1/executions/{execution_id}/stop": _own(202),
    "GET /v1/executions/{execution_id}/events": _own(200),
    "GET /v1/executions/{execution_id}/output": _own(200),
    "GET /v1/engines": _each(200),
    "POST /v1/engines/validate": _each(200, ENGINE),
    "GET /v1/engines/{engine_id}": _own(200),
    "PUT /v1/engines/{engine_id}": Rule(owner=200, other=201, superadmin=201, body=ENGINE),
    "DELETE /v1/engines/{engine_id}": _own(204),
    "GET /v1/engines/{engine_id}/draft": _own(200),
    "PUT /v1/engines/{engine_id}/draft": _each(200, ENGINE),
    "DELETE /v1/engines/{engine_id}/draft": _own(204),
    "POST /v1/engines/{engine_id}/publish": _own(200),
    "GET /v1/engines/{engine_id}/versions": _own(200),
    "GET /v1/engines/{engine_id}/versions/{number}": _own(200),
    "POST /v1/engines/{engine_id}/restore": _own(200, {"version": 1}),
    "PUT /v1/engines/{engine_id}/sharing": _own(200, {"visibility": "private"}),
    "GET /v1/models": _each(200),
    "GET /v1/usage": _each(200),
    "GET /v1/usage/executions": _each(200),
    "GET /v1/usage/insights": _each(200),
    "GET /v1/me": _each(200),
    "GET /v1/me/export": _each(200),
    "PUT /v1/me/password": _each(409, NEW_PASSWORD),  # none of these people has one
    "POST /v1/session": Rule(
        owner=422, other=422, superadmin=422, nobody=422, body={}
    ),  # open to nobody: that is who logs in
    "DELETE /v1/session": _each(409),  # what is called with a key has no session
    "POST /v1/session/everywhere": _each(200),
    "GET /v1/keys": _each(200),
    "POST /v1/keys": _each(201, {"name": "another"}),
    "DELETE /v1/keys/{key_id}": _own(204),
    "POST /v1/keys/{key_id}/rotate": _own(201, {}),
    "DELETE /v1/me": _each(202, {"confirm": CONFIRMATION}),
    "GET /v1/admin/workers": _admin(200),
    "GET /v1/admin/usage": _admin(200),
    "GET /v1/admin/executions": _admin(200),
    "POST /v1/admin/executions/{execution_id}/force-stop": _admin(200, {"reason": "runs away"}),
    "GET /v1/admin/audit": _admin(200),
    "GET /v1/admin/erasures": _admin(200),
    "GET /v1/admin/users": _admin(200),
    "POST /v1/admin/users": _admin(201, {"email": f"{new_id()}@example.org", "name": "Somebody"}),
    "GET /v1/admin/users/{user_id}": _admin(200),
    "PATCH /v1/admin/users/{user_id}": _admin(200, {"name": "Another"}),
    "PUT /v1/admin/users/{user_id}/password": _admin(204, {"password": "a pass phrase of many words"}),
    "GET /v1/admin/users/{user_id}/keys": _admin(200),
    "DELETE /v1/admin/users/{user_id}/keys/{key_id}": _admin(204),
    "GET /v1/admin/users/{user_id}/export": _admin(200),
    "DELETE /v1/admin/users/{user_id}": _admin(202, {"reason": "asked for"}),
    "DELETE /v1/admin/engines/{engine_id}/sharing": _admin(404),  # its author has it for himself
    "GET /v1/admin/models": _admin(200),
    "POST /v1/admin/models/refresh": _admin(503),  # there is no executor that could ask the provider
    "PUT /v1/admin/models/{name}": _admin(200, {"tier": "payg"}),
    "DELETE /v1/admin/models/{name}": _admin(200),
    "POST /v1/admin/models/{name}/prices": _admin(200, PRICES),
}


def routes_of(document: Mapping[str, Any]) -> set[str]:
    """`GET /v1/me` and so on, of an OpenAPI document."""
    return {
        f"{method.upper()} {path}"
        for path, operations in document["paths"].items()
        for method in operations
        if method in METHODS
    }


@dataclass(frozen=True)
class Things:
    """What the owner made, by the names that paths give it. `mark` is in all of it, and in nothing of others."""

    mark: str
    path: Mapping[str, str]


@dataclass(frozen=True)
class Cast:
    """New people for every route: some routes leave nothing of them."""

    owner: Person
    other: Person
    superadmin: Person
    by_token: Mapping[str, str]
    """Headers of somebody whom the provider vouches for: another user, whatever the token says of a role."""
    refused: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Headers that make nobody anybody."""


def new_cast(database: Database, provider: Provider) -> Cast:
    people = {name: Person(new_id(), f"lk_{new_id()}") for name in ("owner", "other", "superadmin")}
    for name, person in people.items():
        add_person(database, name, person, "superadmin" if name == "superadmin" else "user")
    token = provider.token("first", sub=new_id(), role="superadmin")
    return Cast(**people, by_token=_bearer(token), refused=_refused(database, provider))


def dismiss(database: Database) -> None:
    """Those of `new_cast` are superadmins no more: other tests count who is."""
    database.execute(
        "update users set role = 'user' where display_name in ('superadmin', 'expired', 'revoked')"
    )


def _refused(database: Database, provider: Provider) -> Mapping[str, Mapping[str, str]]:
    found: dict[str, Mapping[str, str]] = {"nobody": {}}
    for name, column in (("expired", "expires_at"), ("revoked", "revoked_at")):
        person = Person(new_id(), f"lk_{new_id()}")
        add_person(database, name, person, "superadmin")
        database.execute(
            f"update api_keys set {column} = now() - interval '1 s' where user_id = %s", person.user_id
        )
        found[name] = person.headers
    found["malformed"] = {"Authorization": "Bearer lk_' or 1=1"}
    return found | {name: _bearer(token) for name, token in _foreign_tokens(provider).items()}


def _bearer(token: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _foreign_tokens(provider: Provider) -> Mapping[str, str]:
    """Tokens that are good but for one thing each, and made out to a superadmin."""
    stranger = Provider(provider.url)
    stranger.new_key("first")
    root = {"sub": "root", "role": "superadmin"}
    good = provider.token("first", **root)
    return {
        "token of another issuer": provider.token("first", **root, iss="https://elsewhere.example"),
        "token for another audience": provider.token("first", **root, aud="another"),
        "token of yesterday": provider.token("first", **root, exp=int(time.time()) - 86_400),
        "token that a stranger has signed": stranger.token("first", **root),
        "token without a signature": good.rpartition(".")[0] + ".",
        "token with another's signature": good.rpartition(".")[0]
        + "."
        + stranger.token("first").rpartition(".")[2],
    }


async def made_by(owner: httpx.AsyncClient, root: httpx.AsyncClient, person: Person) -> Things:
    """One of everything, of its owner alone."""
    mark = f"mark-{new_id()}"
    engine_id, model = f"own-{new_id()}", f"model-{new_id()}"
    definition = {**ENGINE, "name": mark, "inputs": {"topic": {"type": "text"}}}
    (await owner.put(f"/v1/engines/{engine_id}", json=definition)).raise_for_status()
    (await owner.put(f"/v1/engines/{engine_id}/draft", json=definition)).raise_for_status()
    started = await owner.post("/v1/executions", json={"engine": engine_id, "input": {"topic": mark}})
    started.raise_for_status()
    (await root.put(f"/v1/admin/models/{model}", json={"tier": "payg"})).raise_for_status()
    key = await owner.post("/v1/keys", json={"name": mark})
    key.raise_for_status()
    path = {
        "key_id": key.json()["id"],
        "engine_id": engine_id,
        "execution_id": started.json()["id"],
        "number": "1",
        "user_id": person.user_id,
        "name": model,
    }
    return Things(mark, path)
