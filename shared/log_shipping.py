"""Brings log lines to the stream LOGS: a bounded queue, one task, and a line in place of whatever was lost."""

import asyncio
import logging
import threading
from collections import deque
from types import TracebackType
from typing import Self

import nats.errors
from nats.aio.client import Client

from shared import conventions as names
from shared import subjects
from shared.logs import LineMaker
from shared.tasks import cancel_and_wait, spawn

MAX_WAITING = 10_000
BATCH = 200
ACK_SECONDS = 1.5
"""Shorter than the end may take, so that a batch cut off by a reconnect is sent again before it."""
RETRY_SECONDS = 0.2
CLOSING_SECONDS = 3.0
_FAILURES = (nats.errors.Error, TimeoutError, OSError)

_log = logging.getLogger(__name__)


class LogShipper:
    """`async with LogShipper(client, maker, service, instance):` every line of `maker` also goes to LOGS.

    One message a line, so that each has a sequence. Lines travel as plain publishes in batches; the last of a batch
    asks for an acknowledgement, and a batch that gets none is sent again. Message ids make that harmless within the
    stream's duplicate window.
    """

    def __init__(self, client: Client, maker: LineMaker, service: str, instance: str) -> None:
        self._client = client
        self._jetstream = client.jetstream()
        self._maker = maker
        self._subject = subjects.logs(service, instance)
        self._id_prefix = instance[-12:]
        self._waiting: deque[bytes] = deque()
        self._dropped = 0
        self._sent = 0
        self._idle = False
        self._wake = asyncio.Event()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    async def __aenter__(self) -> Self:
        self._task = spawn(self._run(), name="log shipper")
        self._maker.attach(self.put)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Sends what waits, for at most three seconds; the rest is only on standard output."""
        self._maker.detach()
        self._closing = True
        self._wake.set()
        _, late = await asyncio.wait([self._task], timeout=CLOSING_SECONDS)
        if late:
            await cancel_and_wait(self._task)
            names.LOG_LINES_DROPPED.labels("stream").inc(len(self._waiting))

    def put(self, line: bytes) -> None:
        """Queues a line, or counts it as dropped. Any thread may call; it does not wait."""
        if len(self._waiting) >= MAX_WAITING:
            self._dropped += 1
            names.LOG_LINES_DROPPED.labels("stream").inc()
            return
        if self._dropped:
            self._waiting.append(self._gap())
        self._waiting.append(line)
        if self._idle:
            self._idle = False
            self._rouse()

    def _gap(self) -> bytes:
        dropped, self._dropped = self._dropped, 0
        return self._maker.line("warning", "log lines dropped", None, {"dropped": dropped})

    def _rouse(self) -> None:
        if threading.get_ident() == self._thread:
            self._wake.set()
        else:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def _run(self) -> None:
        failing = False
        while await self._something():
            batch = [self._waiting[i] for i in range(min(BATCH, len(self._waiting)))]
            try:
                await self._send(batch)
            except _FAILURES as error:
                if not failing:
                    _log.warning("log lines do not reach the stream: %s: %s", type(error).__name__, error)
                failing = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            failing = False
            self._sent += len(batch)
            for _ in batch:
                self._waiting.popleft()

    async def _something(self) -> bool:
        """Waits for lines. False when it is time to end and none is left."""
        while not self._waiting:
            if self._closing:
                return False
            self._wake.clear()
            self._idle = True
            if self._waiting:  # put by another thread just before it could see the flag
                break
            await self._wake.wait()
        return True

    async def _send(self, batch: list[bytes]) -> None:
        """Raises: nats.errors.Error, TimeoutError, OSError, when the stream did not take the last line."""
        # Lines wait here, where they are counted, rather than in the connection's own buffer.
        if not self._client.is_connected:
            raise nats.errors.ConnectionReconnectingError
        last = len(batch) - 1
        for offset, line in enumerate(batch):
            headers = {"Nats-Msg-Id": f"{self._id_prefix}.{self._sent + offset}"}
            if offset < last:
                await self._client.publish(self._subject, line, headers=headers)
            else:
                await self._jetstream.publish(self._subject, line, timeout=ACK_SECONDS, headers=headers)
