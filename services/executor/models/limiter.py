"""Keeps a model's limits per minute together with all other executors, in the bucket `limits` of NATS."""

import asyncio
import contextlib
import logging
import random
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import orjson
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import APIError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from services.executor.models.quota import HORIZON_SECONDS, Bucket, Limit, expected, reserve, settle
from shared.subjects import LIMITS
from shared.tasks import spawn

_REFUSED = frozenset({10164, 10158})
"""Error codes of a cluster for a compare-and-set that came too late, beside the one that the client knows."""
BATCH = 32
"""So many waiting calls are reserved for at once."""
SOON_SECONDS = 0.2
AGAIN_SECONDS = 5.0
"""Between two words to who waits for a moment that is not known yet."""
Tell = Callable[[float], Awaitable[None]]
ALONE_SECONDS = 2.0
"""After so long without an answer of NATS this executor goes by what it knows: calls are not blocked by it."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Line:
    """The calls of one model that wait here. `revision` is that of the entry which `bucket` was read from."""

    limit: Limit
    waiting: deque[tuple[int, asyncio.Future[float]]] = field(default_factory=deque)
    bucket: Bucket = field(default_factory=Bucket)
    revision: int = 0
    debt: int = 0
    """Tokens that calls have used beyond what was reserved; told with the next reservation."""
    task: asyncio.Task[None] | None = None


class Limiter:
    """`now` gives seconds since the epoch, as alike as possible in all executors."""

    def __init__(self, js: JetStreamContext, limits: Mapping[str, Limit], now: Callable[[], float]) -> None:
        self._js = js
        self._now = now
        self._lines = {model: _Line(limit) for model, limit in limits.items()}
        self._bucket: KeyValue | None = None

    async def take(self, model: str, tokens: int, tell: Tell) -> None:
        """Returns when a call of about so many tokens may begin; at once for a model without limits.

        `tell` hears about how many seconds that takes, if it takes any. Never raises for NATS being away.
        """
        line = self._lines.get(model)
        if line is None:
            return
        moment: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        line.waiting.append((tokens, moment))
        try:
            seconds = await self._given(model, line, moment, tell) - self._now()
        finally:
            moment.cancel()  # who is stopped while waiting waits no more
        if seconds > 0:
            await tell(seconds)
            await asyncio.sleep(seconds)

    async def _given(self, model: str, line: _Line, moment: asyncio.Future[float], tell: Tell) -> float:
        """The moment of the call, which is not known while it lies far ahead."""
        seconds = SOON_SECONDS
        while True:
            if line.task is None or line.task.done():
                line.task = spawn(self._serve(model, line), name=f"limiter {model}")
            await asyncio.wait([moment], timeout=seconds)
            if moment.done():
                return moment.result()
            ahead = next((n for n, (_, other) in enumerate(line.waiting) if other is moment), 0)
            await tell(expected(line.bucket, line.limit, self._now(), ahead))
            seconds = AGAIN_SECONDS

    def used(self, model: str, reserved: int, tokens: int) -> None:
        """A call that had so many tokens reserved has used so many."""
        line = self._lines.get(model)
        if line is not None:
            line.debt += tokens - reserved

    async def _serve(self, model: str, line: _Line) -> None:
        """Reserves for all who wait, in batches, until nobody does."""
        while wanted := [each for each in line.waiting if not each[1].done()][:BATCH]:
            moments = await self._reserved(model, line, [tokens for tokens, _ in wanted])
            for (_, future), at in zip(wanted, moments, strict=False):
                if not future.done():
                    future.set_result(at)
            line.waiting = deque(each for each in line.waiting if not each[1].done())
            if line.waiting and not moments:
                await asyncio.sleep(HORIZON_SECONDS / 20)

    async def _reserved(self, model: str, line: _Line, tokens: list[int]) -> list[float]:
        try:
            async with asyncio.timeout(ALONE_SECONDS):
                return await self._agreed(model, line, tokens)
        except (NatsError, TimeoutError) as error:
            _log.warning("limits of %s are not shared at the moment: %s", model, type(error).__name__)
            line.bucket, moments = self._decided(line, tokens)
            line.debt = 0
            return moments

    async def _agreed(self, model: str, line: _Line, tokens: list[int]) -> list[float]:
        """Compare and set: what somebody else has reserved meanwhile is read, and decided anew."""
        bucket = self._bucket = self._bucket or await self._js.key_value(LIMITS)
        key = key_of(model)
        while True:
            debt = line.debt
            changed, moments = self._decided(line, tokens)
            if not moments:
                before = line.revision
                await self._read(bucket, key, line)
                if line.revision == before:
                    return []
                continue
            data = orjson.dumps({"requests": changed.requests, "tokens": changed.tokens})
            try:
                line.revision = await bucket.update(key, data, last=line.revision)
            except APIError as error:
                if not (isinstance(error, KeyWrongLastSequenceError) or error.err_code in _REFUSED):
                    raise
                await asyncio.sleep(random.random() * 0.005)  # noqa: S311 - so that two do not meet again
                await self._read(bucket, key, line)
                continue
            line.bucket = changed
            line.debt -= debt
            return moments

    def _decided(self, line: _Line, tokens: list[int]) -> tuple[Bucket, list[float]]:
        settled = settle(line.bucket, line.limit, line.debt)
        changed, moments = reserve(settled, line.limit, self._now(), tokens)
        return changed, list(moments)

    async def _read(self, bucket: KeyValue, key: str, line: _Line) -> None:
        try:
            entry = await bucket.get(key)
        except KeyNotFoundError:
            line.bucket, line.revision = Bucket(), 0
            return
        line.bucket, line.revision = Bucket(), entry.revision or 0
        with contextlib.suppress(ValueError, TypeError, KeyError):
            found = orjson.loads(entry.value or b"")
            line.bucket = Bucket(requests=float(found["requests"]), tokens=float(found["tokens"]))


def key_of(model: str) -> str:
    """The model's name as a key: what a key may not hold is written as `=` and its hexadecimal code."""
    return re.sub(r"[^a-zA-Z0-9_-]", lambda found: f"={ord(found[0]):02x}", model)
