"""HTTP connections that can be dropped, and that take heads of requests only in bounded size and time.

A connection may have to be dropped because closing it in order would wait for a reader that does not read. The parser
itself bounds nothing: without a limit here one endless header would fill the memory.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.gateway.middleware import DATA_HEADERS
from services.gateway.problems import MEDIA_TYPE, Problem
from services.gateway.stream import ABORT

HEAD_BYTES = 32 * 1024
"""The most that the first line and the headers of a request may have together."""
HEADERS = 100
"""The most headers of a request."""
HEAD_SECONDS = 10.0
"""From the opening of a connection, or the first byte of a further request, to the end of its headers."""

_REASONS = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
}


class _TooLarge(Exception):
    """Ends parsing."""


def _too_large() -> Problem:
    return Problem(
        431,
        "headers_too_large",
        "The headers are too large",
        f"Send at most {HEADERS} headers, and {HEAD_BYTES // 1024} KiB in the first line and the headers together.",
    )


def _too_slow() -> Problem:
    detail = f"Send the whole of the headers within {HEAD_SECONDS:.0f} s."
    return Problem(408, "request_too_slow", "The request took too long", detail)


def _unreadable() -> Problem:
    return Problem(400, "bad_request", "The request can not be read", "This is not HTTP/1.1.")


class DroppableConnection(HttpToolsProtocol):
    """Hands each request the means to drop its connection, as the ASGI extension `lekhika.abort`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._parsed = 0
        self._in_head = True
        self._refused: Problem | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._set_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused is not None:
            return
        super().data_received(data)
        if not self._in_head or self._refused is not None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            self._refuse(_too_large())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        extensions: dict[str, Any] = {ABORT: self.transport.abort}
        self.scope["extensions"] = extensions
        self._in_head = True
        self._head_bytes = 0
        self._parsed = 0
        self._set_timer()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value) + 4)
        if len(self.headers) > HEADERS:
            raise _TooLarge

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unset_timer()
        super().on_headers_complete()

    def _count(self, size: int) -> None:
        self._parsed += size
        if self._parsed > HEAD_BYTES:
            raise _TooLarge

    def send_400_response(self, msg: str) -> None:
        """Called when parsing has ended with an error, that of a limit included."""
        too_large = self._in_head and (self._parsed > HEAD_BYTES or len(self.headers or ()) > HEADERS)
        self._refuse(_too_large() if too_large else _unreadable())

    def _refuse(self, problem: Problem) -> None:
        """Answers where no application does, and closes."""
        self._refused = problem
        self._unset_timer()
        answer = problem.response()
        head = [
            f"HTTP/1.1 {problem.status} ".encode() + _REASONS[problem.status],
            b"content-type: " + MEDIA_TYPE.encode(),
            b"content-length: %d" % len(answer.body),
            b"cache-control: no-store",
            b"connection: close",
            *(name + b": " + value for name, value in DATA_HEADERS),
        ]
        self.transport.write(b"\r\n".join([*head, b"", bytes(answer.body)]))
        self.transport.close()

    def _set_timer(self) -> None:
        self._unset_timer()
        self._timer = self.loop.call_later(HEAD_SECONDS, self._late)

    def _unset_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        if not self.transport.is_closing():
            self._refuse(_too_slow())
