"""Which of the janitors acts: the one that holds a key in the bucket `leaders`.

The key expires by the bucket's TTL unless it is renewed. Leadership only saves work: every append is guarded
and every delete may be repeated, so two leaders for a moment do no harm.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import nats.errors
import nats.js.errors
from nats.aio.client import Client

from shared import subjects
from shared.errors import Permanent, Unavailable
from shared.jetstream import NOT_FOUND, api
from shared.messages import GUARD, stored_content
from shared.tasks import cancel_and_wait, spawn

KEY = "janitor"
MARKER = "Nats-Marker-Reason"
"""Set by the server on what it puts in place of an expired key."""
OPERATION = "KV-Operation"
_FAILURES = (nats.errors.Error, TimeoutError, OSError)
_NO_STREAM = 10059

_log = logging.getLogger(__name__)


class Leadership:
    """While the block runs, holds the key or tries to get it, three times within its TTL."""

    def __init__(self, nc: Client, instance: str, *, bucket: str = subjects.LEADERS) -> None:
        self._nc = nc
        self._js = nc.jetstream()
        self._instance = instance.encode()
        self._stream = f"KV_{bucket}"
        self._subject = f"$KV.{bucket}.{KEY}"
        self._revision: int | None = None
        self._until = 0.0
        self._ttl = 0.0
        self.changed = asyncio.Event()
        """Set whenever this instance gets or loses the key."""
        self.failure: str | None = None
        """Why it can not even be known who holds the key."""

    async def __aenter__(self) -> Self:
        """Raises: Permanent, when the bucket is missing; Unavailable, when NATS does not answer."""
        answer = await api(self._nc, f"STREAM.INFO.{self._stream}", {})
        if answer.get("error", {}).get("err_code") == _NO_STREAM:
            raise Permanent(f"the bucket behind {self._stream} is missing: the topology was not created")
        self._ttl = answer["config"]["max_age"] / 1e9
        await self._tick()
        self._task = spawn(self._run(), name="leadership")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await cancel_and_wait(self._task)
        if self._revision is not None and self.holds():
            headers = {GUARD: str(self._revision), OPERATION: "DEL"}
            with contextlib.suppress(*_FAILURES, nats.js.errors.Error):  # else the TTL does it
                await self._js.publish(self._subject, b"", timeout=1.0, headers=headers)
        self._until = 0.0

    def holds(self) -> bool:
        """Whether nobody else can hold the key now.

        The TTL counts from before the renewal was sent, less a fifth: a paused process knows before it acts.
        """
        return time.monotonic() < self._until

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(0.3 * self._ttl)
            await self._tick()

    async def _tick(self) -> None:
        held = self.holds()
        try:
            expected = self._revision if self._revision is not None else await self._free()
            if expected is not None:
                await self._put(expected)
        except (*_FAILURES, Unavailable) as error:
            self._revision = None  # the put may have been stored: read what is there
            if self.failure is None:
                _log.warning("the leader's key is out of reach: %s: %s", type(error).__name__, error)
            self.failure = f"the leader's key is out of reach: {type(error).__name__}"
        else:
            self.failure = None
        if held != self.holds():
            self.changed.set()
            _log.info("leader" if self.holds() else "not leader any more")

    async def _put(self, expected: int) -> None:
        sent = time.monotonic()
        try:
            ack = await self._js.publish(
                self._subject, self._instance, timeout=0.2 * self._ttl, headers={GUARD: str(expected)}
            )
        except nats.js.errors.BadRequestError:  # somebody else was first
            self._revision = None
            self._until = 0.0
        else:
            self._revision = ack.seq
            self._until = sent + 0.8 * self._ttl

    async def _free(self) -> int | None:
        """The revision to put the key after, when it is not there, has expired, or is ours; else None."""
        answer = await api(self._nc, f"STREAM.MSG.GET.{self._stream}", {"last_by_subj": self._subject})
        if answer.get("error", {}).get("err_code") == NOT_FOUND:
            return 0
        if "error" in answer:
            raise Unavailable(f"the leader's key can not be read: {answer['error'].get('description')}")
        message = answer["message"]
        return int(message["seq"]) if self._is_free(message) else None

    def _is_free(self, message: Mapping[str, Any]) -> bool:
        headers, data = stored_content(message)
        return MARKER in headers or OPERATION in headers or data == self._instance
