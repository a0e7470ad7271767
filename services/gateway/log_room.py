"""Room in the log: new requests are refused before it is full, so that what runs can still be stopped, ended, pruned.

At its size cap the log refuses every append, also the tombstones that make room.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from nats.aio.client import Client

from shared.errors import LogFull, Unavailable
from shared.jetstream import api
from shared.subjects import EXECUTIONS
from shared.tasks import cancel_and_wait, spawn

MOST = 0.9
"""Share of the log's size cap that new requests may fill."""
LOOK_SECONDS = 1.0

_log = logging.getLogger(__name__)


class LogRoom:
    """Use as `async with room.running():`; until its first look, there is room."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._full = False
        self._stopping = asyncio.Event()

    def require(self) -> None:
        """Raises: LogFull, when the log had no room for new requests at the last look."""
        if self._full:
            raise LogFull(f"the log holds more than {MOST:.0%} of its size cap; new requests are refused")

    async def look(self) -> None:
        """Asks how large the log is. Raises: Unavailable."""
        answer = await api(self._nc, f"STREAM.INFO.{EXECUTIONS}", {})
        if "error" in answer:
            raise Unavailable(f"the log: {answer['error'].get('description')}")
        cap, size = int(answer["config"].get("max_bytes", -1)), int(answer["state"]["bytes"])
        full = cap > 0 and size > MOST * cap
        if full != self._full:
            now = "refuses new requests" if full else "takes new requests again"
            _log.warning("the log %s: %d of %d bytes", now, size, cap)
        self._full = full

    @asynccontextmanager
    async def running(self, fail: Callable[[str], None]) -> AsyncIterator[None]:
        """`fail` is told when it ends by itself: without it a full log would refuse stops as well."""

        def ended(task: asyncio.Task[None]) -> None:
            if not (task.cancelled() or self._stopping.is_set()):
                fail("the look at the log's size ended")

        task = spawn(self._run(), name="room in the log")
        task.add_done_callback(ended)
        try:
            yield
        finally:
            self._stopping.set()  # the client library can swallow a cancellation
            await cancel_and_wait(task)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.look()
            except Unavailable as error:  # what was found last counts on
                _log.debug("the size of the log is not known: %s", error)
            await asyncio.sleep(LOOK_SECONDS)
