"""People who log in with passwords and tokens, and an identity provider that answers over HTTP."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from pydantic import SecretStr

from services.gateway import passwords
from shared.asgi import serve
from shared.ids import new_id
from tests.support.gateway import Database, Gateway

PASSWORD = "correct horse battery"
AUDIENCE = "lekhika-of-the-tests"


@dataclass(frozen=True)
class Member:
    """Somebody with a password and no key."""

    user_id: str
    email: str


def add_member(database: Database, role: str = "user", digest: str | None = None) -> Member:
    """With PASSWORD, unless a digest is given."""
    member = Member(new_id(), f"{new_id()}@example.org")
    database.execute(
        "insert into users (id, email, display_name, role) values (%s, %s, 'Member', %s)",
        member.user_id,
        member.email,
        role,
    )
    database.execute(
        "insert into user_passwords (user_id, digest) values (%s, %s)",
        member.user_id,
        digest or passwords.digest(SecretStr(PASSWORD)),
    )
    return member


@contextlib.asynccontextmanager
async def logged_in(gateway: Gateway, member: Member) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the session's cookie and its CSRF token."""
    async with gateway.client() as client:
        answer = await client.post("/v1/session", json={"email": member.email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
        yield client


@dataclass
class Provider:
    """An identity provider: a discovery document and keys over HTTP, both counted."""

    url: str = ""
    keys: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)
    asked: int = 0
    healthy: bool = True
    endless: bool = False
    """Its answers go on, a little at a time, until whoever asked leaves."""

    @property
    def issuer(self) -> str:
        return self.url

    def settings(self, **changes: Any) -> dict[str, Any]:
        return {"token_issuer": self.issuer, "token_audience": AUDIENCE, **changes}

    def new_key(self, kid: str) -> None:
        self.keys[kid] = ec.generate_private_key(ec.SECP256R1())

    def token(self, kid: str, **changes: Any) -> str:
        """A good token, but for the changed claims; a claim that is None is left out."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": "somebody",
            "iat": now,
            "exp": now + 60,
            **changes,
        }
        given = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(given, self.keys[kid], algorithm="ES256", headers={"kid": kid})

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        body: dict[str, Any] = {"issuer": self.issuer, "jwks_uri": f"{self.url}/keys"}
        if scope["path"] == "/keys":
            self.asked += 1
            body = {"keys": [self._public(kid) for kid in self.keys]}
        status = 200 if self.healthy else 503
        await send({"type": "http.response.start", "status": status, "headers": []})
        while self.endless and not await _left(receive):
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    def _public(self, kid: str) -> dict[str, Any]:
        jwk: dict[str, Any] = ECAlgorithm.to_jwk(self.keys[kid].public_key(), as_dict=True)
        return {**jwk, "kid": kid, "use": "sig"}


async def _left(receive: Any) -> bool:
    """Whether the caller leaves within a moment."""
    try:
        async with asyncio.timeout(0.05):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


@contextlib.asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    made.new_key("first")

    async def app(scope: Any, receive: Any, send: Any) -> None:  # uvicorn takes no method for one
        await made.answer(scope, receive, send)

    async with serve(app, "127.0.0.1", 0) as port:
        made.url = f"http://127.0.0.1:{port}"
        yield made


async def broadcast(sender: Gateway, *hearers: Gateway) -> None:
    """What the sender has published was heard by the others."""
    for gateway in (sender, *hearers):
        await gateway.parts.nc.flush()


async def eventually(ask: Any, seconds: float = 10.0) -> None:
    """Asks until the answer is true: of what is written beside a request."""
    async with asyncio.timeout(seconds):
        while not await ask():  # noqa: ASYNC110 - of a fact in the database nobody is told
            await asyncio.sleep(0.02)
