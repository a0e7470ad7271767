"""One client connection: HTTP/1.1 by h11, and the moment at which the client leaves.

The socket is read at all times, also while an answer is being sent, so that a close is seen when it
happens and not at the next write.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import h11

from deploy.local.standin.ledger import ClosedBy

_READ_SIZE = 65_536
_LARGEST_BODY = 32 * 1024 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Gone = Callable[[ClosedBy, int], None]


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    received_ns: int


class Exchange:
    """One request and the means to answer it. Everything written goes to the socket at once."""

    def __init__(self, connection: "Connection", request: Request) -> None:
        self.request = request
        self.on_gone: Gone = _nobody_cares
        self._connection = connection

    async def reply(self, status: int, body: bytes, content_type: bytes) -> None:
        """A whole answer."""
        self.begin(status, content_type, length=len(body))
        if self.request.method != "HEAD":
            self.write(body)
        self.end()
        await self.drain()

    def begin(
        self,
        status: int,
        content_type: bytes,
        length: int | None = None,
        more: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """The head of an answer; without a length the body is sent in chunks."""
        size = (
            (b"transfer-encoding", b"chunked")
            if length is None
            else (b"content-length", str(length).encode())
        )
        headers = [
            (b"content-type", content_type),
            size,
            (b"vary", b"Origin"),
            (b"server", b"lekhika-standin"),
            *more,
        ]
        reason = HTTPStatus(status).phrase.encode()
        self._connection.send(h11.Response(status_code=status, headers=headers, reason=reason))

    def write(self, data: bytes) -> None:
        self._connection.send(h11.Data(data=data))

    async def drain(self) -> None:
        """Waits while the client reads too slowly."""
        await self._connection.drain()

    def end(self) -> None:
        self._connection.send(h11.EndOfMessage())

    def cut(self, *, reset: bool) -> None:
        """Closes the connection in the middle of the answer, politely or with a reset."""
        self._connection.cut(reset=reset)


Handler = Callable[[Exchange], Awaitable[None]]


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=256 * 1024)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._received_ns = 0
        self._exchange: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def serve(self) -> None:
        """Returns when the connection is closed, by whomever."""
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._read(tasks)
        finally:
            self._gone(ClosedBy.SERVER)  # only if nothing else has closed it
            self._writer.close()

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        try:
            while data := await self._reader.read(_READ_SIZE):
                self._http.receive_data(data)
                self._advance(tasks)
        except ConnectionError:
            self._gone(ClosedBy.CLIENT_RESET)
        else:
            self._gone(ClosedBy.CLIENT)

    def send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if not data:
            return
        if self._writer.transport.is_closing():  # uvloop would raise no ConnectionError for it
            raise ConnectionResetError("the client is gone")
        self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()

    def cut(self, *, reset: bool) -> None:
        if reset:
            raw = self._writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._writer.transport.abort()
        else:
            self._writer.close()

    def _gone(self, by: ClosedBy) -> None:
        now_ns = time.time_ns()
        if self._exchange is not None:
            self._exchange.on_gone(by, now_ns)
        if self._task is not None:
            self._task.cancel()

    def _advance(self, tasks: asyncio.TaskGroup) -> None:
        """Takes what was received as far as it goes, at most to the start of one handler."""
        try:
            while self._task is None:
                event = self._http.next_event()
                if isinstance(event, h11.Request):
                    self._head, self._received_ns = event, time.time_ns()
                    if self._http.they_are_waiting_for_100_continue:
                        self.send(h11.InformationalResponse(status_code=100, headers=[]))
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > _LARGEST_BODY:
                        self._writer.close()
                        return
                elif isinstance(event, h11.EndOfMessage):
                    self._start(tasks)
                else:
                    return
        except h11.RemoteProtocolError:
            self._writer.close()

    def _start(self, tasks: asyncio.TaskGroup) -> None:
        head = self._head
        assert head is not None  # h11 gives a head before the end of its message
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        method, target = head.method.decode("ascii"), head.target.decode("latin-1")
        request = Request(method, target, headers, bytes(self._body), self._received_ns)
        self._body.clear()
        self._exchange = Exchange(self, request)
        self._task = tasks.create_task(self._answer(self._exchange, tasks), name=f"{method} {target}")

    async def _answer(self, exchange: Exchange, tasks: asyncio.TaskGroup) -> None:
        try:
            await self._handler(exchange)
        except ConnectionError:
            return  # the reading side sees the same loss and says who closed
        self._exchange = self._task = None
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._advance(tasks)
        else:
            self._writer.close()


def _nobody_cares(by: ClosedBy, now_ns: int) -> None:
    """The client of an exchange without a ledger entry left."""
