"""A pull subscription that is quick with large batches."""

import asyncio
import contextlib
import json
import sys
import time

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext

_MARGIN = 0.01
"""Seconds that a request ends at the server before it ends here, so that its end does not come into the next one."""


class CollectingSubscription(JetStreamContext.PullSubscription):
    """Takes the place of `inner`: a batch is what comes within the time, or until it is full.

    nats-py starts a timer for each message, which costs more than all else that is done with it. Here one is started
    only when nothing is there. And when time runs out it raises the error that FastStream expects.
    """

    def __init__(self, inner: JetStreamContext.PullSubscription) -> None:
        self.__dict__ = vars(inner)
        self._leaving, self._left = asyncio.Event(), asyncio.Event()

    async def fetch(
        self, batch: int = 1, timeout: float | None = 5, heartbeat: float | None = None
    ) -> list[Msg]:
        """Raises: nats.errors.TimeoutError, when there is nothing. After `leave` it only waits to be cancelled."""
        if not self._leaving.is_set():
            found = self._delivered(batch)
            await self._collect(found, batch, 5.0 if timeout is None else timeout)
            if self._leaving.is_set():
                await self._give_back(found)
            elif found:
                return found
            else:
                raise nats.errors.TimeoutError
        self._left.set()
        await asyncio.Event().wait()
        raise nats.errors.TimeoutError

    async def leave(self) -> None:
        """Returns when nothing is fetched any more, and what has come since the last batch was given back."""
        self._leaving.set()
        await self._left.wait()

    async def _give_back(self, found: list[Msg]) -> None:
        """Another replica, or the next start, need not wait until the server takes these for lost."""
        with contextlib.suppress(nats.errors.Error, TimeoutError):
            await self._nc.flush()  # the last request has ended: what it brought is here now
            for message in (*found, *self._delivered(sys.maxsize)):
                await message.nak()

    async def _collect(self, found: list[Msg], batch: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        if len(found) < batch:
            await self._ask(batch - len(found), max(seconds - _MARGIN, _MARGIN))
        while len(found) < batch and (left := end - time.monotonic()) > 0:
            try:
                message = await self._sub.next_msg(timeout=left)
            except TimeoutError:
                break
            if not JetStreamContext.is_status_msg(message):
                found.append(message)
            found += self._delivered(batch - len(found))

    async def _ask(self, batch: int, seconds: float) -> None:
        request = {"batch": batch, "expires": int(seconds * 1_000_000_000)}
        await self._nc.publish(self._nms, json.dumps(request).encode(), self._deliver)

    def _delivered(self, most: int) -> list[Msg]:
        """Of what is here already, also of an earlier request, at most so many."""
        queue, found = self._sub._pending_queue, list[Msg]()  # noqa: SLF001 - it has no public way without a timer
        while len(found) < most and not queue.empty():
            message = queue.get_nowait()
            self._sub._pending_size -= len(message.data)  # noqa: SLF001
            queue.task_done()
            if not JetStreamContext.is_status_msg(message):
                found.append(message)
        return found
