"""An ASGI application served inside the process, on a port that may be chosen by the system."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Generator
from typing import Literal

import uvicorn
from uvicorn._types import ASGIApplication

from shared.errors import Permanent
from shared.tasks import spawn

Parser = Literal["auto", "h11", "httptools"]


class _Server(uvicorn.Server):
    """Leaves signals to the process, and tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises: Permanent, when the address can not be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise Permanent(f"can not listen on {host} port {port}: {error.strerror or error}") from None
    # Connections inherit it. uvicorn writes the head and the body apart, and asyncio, unlike uvloop, leaves Nagle's
    # algorithm on where a socket does not name its protocol: the body would wait 40 ms for the client's acknowledgement.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


@contextlib.asynccontextmanager
async def serve(
    app: ASGIApplication, host: str, port: int, *, http: Parser = "h11", graceful_seconds: int = 2
) -> AsyncIterator[int]:
    """Serves `app` while the block runs; gives the port. Lifespan events are not sent: the block is the lifespan.

    Raises: Permanent, when the address can not be had.
    """
    bound = listen(host, port)
    server = _Server(
        uvicorn.Config(
            app,
            http=http,
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # whoever needs the address decides whom to believe
            timeout_graceful_shutdown=graceful_seconds,
        )
    )
    task = spawn(server.serve(sockets=[bound]), name=f"http {host}:{port}")
    up = spawn(server.listening.wait(), name="http start")
    await asyncio.wait([task, up], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        up.cancel()
        bound.close()
        raise Permanent(f"the HTTP server on {host} did not start") from task.exception()
    try:
        yield bound.getsockname()[1]
    finally:
        server.should_exit = True
        up.cancel()
        await asyncio.wait([task])
