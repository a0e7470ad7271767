"""What keeps browsers and the gateway from harm: CORS, headers of every answer, and bounds on what is taken in."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from starlette.types import Message, Receive, Scope, Send

from deploy.local.nats_server import NatsServer
from services.gateway import body_limit, connection
from services.gateway.middleware import SecurityHeaders
from services.gateway.settings import GatewaySettings
from tests.support.gateway import Database, Gateway, running_gateway

ORIGIN = "https://app.example.com"


@pytest.fixture(scope="module")
async def open_gateway(nats_server: NatsServer, database: Database) -> AsyncIterator[Gateway]:
    """One that lets another web application call, and takes bodies for a moment only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "HEAD_SECONDS", 0.5)
        patch.setattr("services.gateway.app.BODY_SECONDS", 0.5)
        async with running_gateway(
            nats_server, database, cors_origins=f"{ORIGIN}/, http://[::1]:5173"
        ) as running:
            yield running


@pytest.fixture
async def caller(open_gateway: Gateway, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with open_gateway.client(database.people["ada"]) as client:
        yield client


def preflight(origin: str, method: str = "POST") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }


class TestOtherOrigins:
    async def test_a_preflight_is_answered_and_kept(self, caller: httpx.AsyncClient) -> None:
        answer = await caller.options("/v1/executions", headers=preflight(ORIGIN))
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["access-control-max-age"] == "7200"
        assert answer.headers["vary"].split(", ")[0] == "Origin"

    @pytest.mark.parametrize(
        "origin", ["https://evil.example.com", f"{ORIGIN}.evil.com", "http://app.example.com", "null"]
    )
    async def test_nobody_else_may_read(self, caller: httpx.AsyncClient, origin: str) -> None:
        refused = await caller.options("/v1/executions", headers=preflight(origin))
        assert refused.status_code == 400
        plain = await caller.get("/v1/me", headers={"Origin": origin})
        for answer in (refused, plain):
            assert "access-control-allow-origin" not in answer.headers
            assert "Origin" in answer.headers["vary"]

    @pytest.mark.parametrize("path", ["/v1/me", "/v1/nothing", "/v1/executions?limit=x", "/v1/admin/workers"])
    async def test_an_origin_reads_errors_too(self, caller: httpx.AsyncClient, path: str) -> None:
        answer = await caller.get(path, headers={"Origin": ORIGIN})
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "Location" in answer.headers["access-control-expose-headers"]

    async def test_an_origin_reads_that_something_went_wrong(
        self, open_gateway: Gateway, caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(*_: Any) -> Any:
            raise RuntimeError("unexpected")

        monkeypatch.setattr("services.gateway.executions.list_own", fail)
        answer = await caller.get("/v1/executions", headers={"Origin": ORIGIN})
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert answer.headers["access-control-allow-origin"] == ORIGIN

    @pytest.mark.parametrize(
        "origins", ["*", "app.example.com", "https://app.example.com/path", "https://a b"]
    )
    def test_only_origins_can_be_set(self, origins: str) -> None:
        with pytest.raises(ValidationError, match="cors_origins"):
            GatewaySettings.model_validate({"NATS_URL": "x", "DATABASE_URL": "x", "cors_origins": origins})


class TestHeaders:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/"),
            ("GET", "/console/main.js"),
            ("GET", "/v1/me"),
            ("GET", "/v1/nothing"),
            ("DELETE", "/v1/me"),
            ("POST", "/v1/executions"),
            ("GET", "/openapi.json"),
            ("GET", "/livez"),
            ("OPTIONS", "/v1/executions"),
        ],
    )
    async def test_every_answer_has_them(self, caller: httpx.AsyncClient, method: str, path: str) -> None:
        headers = preflight(ORIGIN) if method == "OPTIONS" else {}
        answer = await caller.request(method, path, headers=headers)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert ("sandbox" in policy) == (path not in ("/", "/console/main.js")), (
            "only the console may run anything"
        )
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "camera=()" in answer.headers["permissions-policy"]
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "strict-transport-security" not in answer.headers

    @pytest.mark.parametrize("https", [True, False])
    async def test_transport_security_is_said_where_the_operator_says_so(self, https: bool) -> None:
        sent: list[Message] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 204, "headers": []})

        async def keep(message: Message) -> None:
            sent.append(message)

        await SecurityHeaders(app, https_only=https)({"type": "http", "path": "/"}, None, keep)  # type: ignore[arg-type]
        names = [name for name, _ in sent[0]["headers"]]
        assert (b"strict-transport-security" in names) is https


def talk(gateway: Gateway, *pieces: bytes) -> tuple[int, dict[str, Any], str]:
    """Sends the pieces as they are, and reads what comes until the gateway closes: status, problem, and headers."""
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        try:
            for piece in pieces:
                line.sendall(piece)
        except ConnectionError:
            pass  # it has answered and closed already
        whole = b""
        try:
            while data := line.recv(65_536):
                whole += data
        except ConnectionResetError:
            pass
    head, _, body = whole.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body), head.decode().lower()


@pytest.mark.parametrize("path", ["/v1/engines/", "/v1/me/", "/console", "/console/."])
async def test_no_answer_leads_to_the_host_that_the_request_names(open_gateway: Gateway, path: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    status, problem, headers = await asyncio.to_thread(talk, open_gateway, head.encode())
    assert (status, problem["code"]) == (404, "not_found")
    assert "evil.example" not in headers


class TestBounds:
    @pytest.mark.parametrize(
        "head",
        [
            b"GET /v1/me HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
            b"GET /v1/me HTTP/1.1\r\nHost: x\r\n"
            + b"".join(b"X-%d: a\r\n" % n for n in range(200))
            + b"\r\n",
            b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /v1/me HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 3_000_000,
        ],
    )
    async def test_headers_have_a_size_and_a_number(self, open_gateway: Gateway, head: bytes) -> None:
        status, problem, headers = await asyncio.to_thread(talk, open_gateway, head)
        assert (status, problem["code"]) == (431, "headers_too_large")
        assert "application/problem+json" in headers
        for name in (
            "content-security-policy",
            "x-content-type-options",
            "x-frame-options",
            "referrer-policy",
        ):
            assert f"\r\n{name}: " in headers, "this answer too"

    async def test_what_is_not_http_is_told_so(self, open_gateway: Gateway) -> None:
        status, problem, _ = await asyncio.to_thread(talk, open_gateway, b"hello\r\n\r\n")
        assert (status, problem["code"]) == (400, "bad_request")

    @pytest.mark.parametrize("begun", [b"", b"GET /v1/me HTTP/1.1\r\nHost: x\r\nX-Slow: "])
    async def test_headers_must_come_in_time(self, open_gateway: Gateway, begun: bytes) -> None:
        status, problem, _ = await asyncio.to_thread(talk, open_gateway, begun)
        assert (status, problem["code"]) == (408, "request_too_slow")

    async def test_a_body_must_come_in_time(self, open_gateway: Gateway, database: Database) -> None:
        head = (
            f"POST /v1/executions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {database.people['ada'].key}\r\n"
            'Content-Length: 100\r\n\r\n{"engine":'
        )
        status, problem, _ = await asyncio.to_thread(talk, open_gateway, head.encode())
        assert (status, problem["code"]) == (408, "request_too_slow")
        assert "body" in problem["detail"]

    @pytest.mark.parametrize("expect", ["Expect: 100-continue\r\n", ""])
    async def test_a_body_that_says_it_is_too_large_is_not_waited_for(
        self, open_gateway: Gateway, database: Database, monkeypatch: pytest.MonkeyPatch, expect: str
    ) -> None:
        """Which comes before the time is over that a body may take."""
        monkeypatch.setattr(body_limit, "PATIENCE_SECONDS", 0.2)
        head = (
            f"POST /v1/executions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {database.people['ada'].key}\r\n"
            f"{expect}Content-Length: 2000000\r\n\r\n"
        )
        status, problem, _ = await asyncio.to_thread(talk, open_gateway, head.encode())
        assert (status, problem["code"]) == (413, "body_too_large")

    async def test_a_body_that_may_come_is_asked_for(self, open_gateway: Gateway, database: Database) -> None:
        head = (
            f"POST /v1/executions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {database.people['ada'].key}\r\n"
            "Expect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n"
        )
        host, port = open_gateway.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 100 ")
        writer.close()

    async def test_json_has_a_depth_and_a_number_of_values(self, caller: httpx.AsyncClient) -> None:
        for given, said in (
            ({"input": json.loads("[" * 40 + "]" * 40)}, "levels"),
            ({"input": {"x": [0] * 100_001}}, "values"),
            ({f"k{n}": 0 for n in range(60_000)} | {"x": [0] * 50_000}, "values"),
        ):
            answer = await caller.post("/v1/executions", json={"engine": "book", **given})
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
            assert said in answer.json()["errors"][0]["detail"]
