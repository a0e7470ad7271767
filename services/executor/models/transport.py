"""The HTTP client that the providers' SDKs are given, and how a caller hangs up."""

import contextlib
import functools
import os
import socket
from collections.abc import Callable
from contextvars import ContextVar

import httpx2

from services.executor.models.provider import Caller, ModelRequest, Piece, Provider

CONNECT_SECONDS = 10.0
_caller: ContextVar[Caller] = ContextVar("caller")


def http_client(transport: httpx2.AsyncBaseTransport | None = None) -> httpx2.AsyncClient:
    """Ours, so that the transport never depends on what else is installed. It neither retries nor times out but when
    connecting: how long an answer may take is watched by who makes the call.
    """
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=64),
        event_hooks={"response": [_answered]},
        transport=transport,
    )


async def rehearse(make: Callable[[httpx2.AsyncBaseTransport], Provider], answer: bytes) -> None:
    """Runs one call against a stream made here, so that the first real one does not wait for the SDK to build its types
    (a third of a second).
    """

    def respond(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=answer)

    provider = make(httpx2.MockTransport(respond))
    await provider.stream(
        ModelRequest(model="rehearsal", prompt="x", output_schema={"type": "object"}), _Nobody()
    )
    await provider.aclose()


class _Nobody:
    def receive(self, piece: Piece) -> None: ...

    def connected(self, hang_up: Callable[[], None]) -> None: ...


def called_by(caller: Caller) -> None:
    """Whoever's answers arrive in this task is told how to hang up."""
    _caller.set(caller)


def never_sent(error: BaseException | None) -> bool:
    """Whether the request can not have reached the provider."""
    return isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)


async def _answered(response: httpx2.Response) -> None:
    caller, stream = _caller.get(None), response.extensions.get("network_stream")
    connection = stream.get_extra_info("socket") if stream is not None else None
    if caller is not None and connection is not None:
        caller.connected(functools.partial(_hang_up, connection))


def _hang_up(connection: socket.socket) -> None:
    """Sends the end of our side. The transport, which owns the descriptor, is left to close it."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as same:
        same.shutdown(socket.SHUT_WR)
