"""Every instance says that it lives: an entry in the bucket `workers`, under a TTL, put every second."""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import nats.errors
import nats.js.errors
import orjson
import psutil
from nats.aio.client import Client
from nats.js import JetStreamContext

from shared import conventions as names
from shared.errors import Permanent, Unavailable
from shared.jetstream import direct_get
from shared.loop_delay import LoopDelay
from shared.service import version
from shared.subjects import WORKERS, worker
from shared.tasks import cancel_and_wait, spawn

_STREAM = f"KV_{WORKERS}"
_READ_SECONDS = 5.0
_INSTANCES = 1024
"""The server answers for no more subjects at once."""
_FAILURES = (nats.errors.Error, TimeoutError, OSError)

_log = logging.getLogger(__name__)


class Heartbeat:
    """Puts this instance's entry while the block runs, and takes it away at its end.

    `snapshot` gives what only the service knows, each time anew: `state` (starting, ready, draining, paused; ready
    when absent), `slots`, `executions`. It must be quick and must not raise.
    """

    def __init__(
        self,
        js: JetStreamContext,
        *,
        service: str,
        instance: str,
        snapshot: Callable[[], dict[str, Any]] = dict,
        interval: float = 1.0,
    ) -> None:
        self._js = js
        self._subject = worker(service, instance)
        self._snapshot = snapshot
        self._interval = interval
        self._process = psutil.Process()
        self._started = time.monotonic()
        self._loop_delay = LoopDelay()
        self._delay_seconds = 0.0
        self._wake = asyncio.Event()
        self._since: float | None = None
        self._last: float | None = None
        self._failing = False
        self._fixed: dict[str, Any] = {
            "id": instance,
            "service": service,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": version(),
            "started_at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }

    async def __aenter__(self) -> Self:
        """Raises: Permanent, when the bucket is missing; Unavailable, when NATS does not answer."""
        try:
            await self._js.key_value(WORKERS)
        except nats.js.errors.NotFoundError:
            raise Permanent(f"the bucket {WORKERS} is missing: the topology was not created") from None
        except _FAILURES as error:
            raise Unavailable(f"the bucket {WORKERS} can not be reached: {type(error).__name__}") from None
        self._loop_delay.start()
        self._task = spawn(self._run(), name="heartbeat")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await cancel_and_wait(self._task)
        self._loop_delay.stop()
        with contextlib.suppress(*_FAILURES):  # the TTL does it then
            await self._js.publish(self._subject, b"", timeout=1.0, headers={"KV-Operation": "DEL"})

    def poke(self) -> None:
        """Asks for a heartbeat now, because something changed that others should see soon."""
        self._wake.set()

    def unbroken_since(self) -> float | None:
        """`time.monotonic()` of the first of an unbroken run of accepted heartbeats.

        None when the last one failed, or is older than three intervals.
        """
        if self._last is None or time.monotonic() - self._last > 3 * self._interval:
            return None
        return self._since

    def _unbroken_seconds(self) -> float | None:
        since = self.unbroken_since()
        return None if since is None else round(time.monotonic() - since, 1)

    def current(self) -> dict[str, Any]:
        """The entry as it would be put now."""
        with self._process.oneshot():
            memory, cpu = self._process.memory_info().rss, self._process.cpu_percent()
        return {
            **self._fixed,
            "uptime_seconds": round(time.monotonic() - self._started, 1),
            "unbroken_seconds": self._unbroken_seconds(),
            "state": "ready",
            "memory_bytes": memory,
            "cpu_percent": cpu,
            "loop_delay_ms": round(self._delay_seconds * 1000, 1),
            "slots": None,
            "executions": [],
            **self._snapshot(),
        }

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            await self._beat()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._wake.wait()

    async def _beat(self) -> None:
        self._delay_seconds = self._loop_delay.take()
        names.LOOP_DELAY.set(self._delay_seconds)
        body = orjson.dumps(self.current(), default=str)
        try:
            await self._js.publish(self._subject, body, timeout=2 * self._interval)
        except _FAILURES as error:
            self._refused(error)
        else:
            self._accepted(time.monotonic())

    def _accepted(self, now: float) -> None:
        gap = self._last is None or now - self._last > 3 * self._interval
        if self._since is None or gap:
            self._since = now
        self._last = now
        if self._failing:
            self._failing = False
            _log.info("heartbeats are accepted again")

    def _refused(self, error: BaseException) -> None:
        self._since = None
        names.HEARTBEATS_FAILED.inc()
        if not self._failing:
            self._failing = True
            _log.warning("heartbeat not accepted: %s: %s", type(error).__name__, error)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """An entry, and the server's time stamp of the heartbeat that put it."""

    worker: dict[str, Any]
    time: datetime


async def read_worker(js: JetStreamContext, instance: str) -> Seen | None:
    """The newest entry of one instance as the stream's leader has it, so that it can serve as evidence; None if gone.

    Raises: Unavailable, when it can not be known.
    """
    try:
        found = await js.get_last_msg(_STREAM, worker("*", instance))
    except nats.js.errors.NotFoundError:
        return None
    except _FAILURES as error:
        raise Unavailable(f"worker {instance} can not be looked up: {type(error).__name__}") from None
    if not found.data or found.time is None:  # a marker of a deletion or an expiry
        return None
    return Seen(worker=orjson.loads(found.data), time=found.time)


async def read_workers(nc: Client) -> list[dict[str, Any]]:
    """All current entries, oldest instance first; a follower that lags may answer.

    Raises: Unavailable, when they can not be read.
    """
    request = {"multi_last": [worker("*", "*")], "batch": _INSTANCES}
    try:
        async with asyncio.timeout(_READ_SECONDS):
            # One without content marks a deletion or an expiry.
            found = [orjson.loads(msg.data) async for msg in direct_get(nc, _STREAM, request) if msg.data]
    except _FAILURES as error:
        raise Unavailable(f"workers can not be read: {type(error).__name__}") from None
    return sorted(found, key=lambda entry: str(entry["id"]))
