"""Around every request: a span, metrics, the last net under errors, and headers that keep browsers from harm.

Plain ASGI, because wrapping responses in a second stream costs time and breaks server-sent events.
"""

import logging
import time
from collections.abc import Sequence

from opentelemetry.trace import SpanKind
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.problems import internal
from shared import conventions as names
from shared import telemetry

UNMATCHED = "unmatched"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_POLICY = b"content-security-policy"
_CONSOLE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_DATA_POLICY = b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
"""Of everything but the console: should a browser show it after all, downloads of HTML included, nothing in it runs."""
_ALWAYS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"permissions-policy",
        b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
DATA_HEADERS = [(_POLICY, _DATA_POLICY), *_ALWAYS]
"""For what is answered before there is a request."""
_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")
"""A year, as is usual."""

_log = logging.getLogger(__name__)


class SecurityHeaders:
    """Stands outside of everything, so that answers of CORS and errors have the headers too.

    The one about transport is only sent where TLS is in front, which `https_only` says.
    """

    def __init__(self, app: ASGIApp, *, https_only: bool) -> None:
        self._app = app
        self._https_only = https_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        added = [(_POLICY, _policy(scope["path"])), *_ALWAYS]
        if self._https_only:
            added.append(_TRANSPORT)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _policy(path: str) -> bytes:
    return _CONSOLE_POLICY if path == "/" or path.startswith("/console/") else _DATA_POLICY


class Observe:
    """A server span and the metrics of each request, by the template of its route; a 500 for what nobody expected."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        began = time.perf_counter()
        method = scope["method"] if scope["method"] in METHODS else "other"
        with telemetry.span(
            method, kind=SpanKind.SERVER, parent=telemetry.extract(_trace_headers(scope))
        ) as span:
            try:
                await self._app(scope, receive, answer.send)
            except ClientDisconnect:  # it left in the middle of its request: nobody is there to be answered
                _log.info("%s %s: the caller left", method, _route(scope))
            except Exception:  # noqa: BLE001 - the last net: nothing of it may reach the caller
                _log.exception("%s %s failed", method, _route(scope))
                if answer.status is None:
                    await internal().response()(scope, receive, answer.send)
            route = _route(scope)
            span.update_name(f"{method} {route}")
            span.set_attributes({"http.request.method": method, "http.route": route})
            span.set_attribute("http.response.status_code", answer.status or 499)
        names.HTTP_REQUESTS.labels(route, method, str(answer.status or 499)).inc()
        if not answer.stream:
            names.HTTP_SECONDS.labels(route, method).observe(time.perf_counter() - began)


class _Answer:
    """Watches what is sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None
        self.stream = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.stream = _header(message.get("headers", ()), b"content-type").startswith(
                b"text/event-stream"
            )
        await self._send(message)


def _header(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes:
    return next((value for key, value in headers if key.lower() == name), b"")


def _trace_headers(scope: Scope) -> dict[str, str]:
    wanted = (b"traceparent", b"tracestate")
    return {key.decode(): value.decode("latin-1") for key, value in scope["headers"] if key in wanted}


def _route(scope: Scope) -> str:
    """The template, never the path itself, which people choose."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) and path else UNMATCHED
