"""Keeps a model's limits per minute together with all other executors, in the bucket `limits` of NATS."""

import asyncio
import contextlib
import itertools
import logging
import random
import re
import time
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
ANSWER_SECONDS = 2.0
"""So long NATS may take to answer before it is asked again."""
AWAY_SECONDS = 0.5
"""Between two tries while it does not answer."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Line:
    """The calls of one model that wait here. `revision` is that of the entry which `bucket` was read from."""

    limit: Limit
    waiting: deque[tuple[int, asyncio.Future[float]]] = field(default_factory=deque)
    bucket: Bucket = field(default_factory=Bucket)
    revision: int = 0
    debt: int = 0
    """Tokens that calls have used beyond what was reserved; told with the next reservation, or at once if nobody waits."""
    spare: list[tuple[int, float]] = field(default_factory=list)
    """Tokens and moments of calls that were stopped while they waited: who asks next here gets them."""
    task: asyncio.Task[None] | None = None


class Limiter:
    """`now` gives seconds since the epoch, as alike as possible in all executors."""

    def __init__(self, js: JetStreamContext, limits: Mapping[str, Limit], now: Callable[[], float]) -> None:
        self._js = js
        self._now = now
        self._lines = {model: _Line(limit) for model, limit in limits.items()}
        self._bucket: KeyValue | None = None

    async def take(self, model: str, tokens: int, tell: Tell) -> float | None:
        """Returns when a call of about so many tokens may begin: at its moment, by `time.monotonic()`.

        At once, with None, for a model without limits. `tell` hears about how many seconds it takes, if it takes any.
        While NATS is away nobody gets a moment.
        """
        line = self._lines.get(model)
        if line is None:
            return None
        moment: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        line.waiting.append((tokens, moment))
        try:
            seconds = await self._given(model, line, moment, tell) - self._now()
            due = time.monotonic() + seconds
            if seconds > 0:
                await tell(seconds)
                await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            if not moment.cancel() and not moment.cancelled():
                line.spare.append((tokens, moment.result()))
            raise
        return due

    async def _given(self, model: str, line: _Line, moment: asyncio.Future[float], tell: Tell) -> float:
        """The moment of the call, which is not known while it lies far ahead."""
        seconds = SOON_SECONDS
        while True:
            self._work(model, line)
            await asyncio.wait([moment], timeout=seconds)
            if moment.done():
                return moment.result()
            ahead = [n for n, _ in itertools.takewhile(lambda each: each[1] is not moment, line.waiting)]
            await tell(expected(line.bucket, line.limit, self._now(), ahead))
            seconds = AGAIN_SECONDS

    def used(self, model: str, reserved: int, tokens: int) -> None:
        """A call that had so many tokens reserved has used so many."""
        line = self._lines.get(model)
        if line is None or line.limit.tokens_per_minute is None or tokens == reserved:
            return
        line.debt += tokens - reserved
        self._work(model, line)

    def _work(self, model: str, line: _Line) -> None:
        if line.task is None or line.task.done():
            line.task = spawn(self._serve(model, line), name=f"limiter {model}")

    async def _serve(self, model: str, line: _Line) -> None:
        """Reserves for all who wait, in batches, until nobody does and all that calls have used is told."""
        while True:
            _hand_on(line, self._now())
            line.waiting = deque(each for each in line.waiting if not each[1].done())
            wanted = list(itertools.islice(line.waiting, BATCH))
            if not wanted and not line.debt:
                return
            moments = await self._reserved(model, line, [tokens for tokens, _ in wanted])
            if moments is None:
                await asyncio.sleep(AWAY_SECONDS)
                continue
            for (tokens, future), at in zip(wanted, moments, strict=False):
                if future.done():
                    line.spare.append((tokens, at))
                else:
                    future.set_result(at)
            if wanted and not moments:
                await asyncio.sleep(HORIZON_SECONDS / 20)

    async def _reserved(self, model: str, line: _Line, tokens: list[int]) -> list[float] | None:
        """None while NATS is away: nobody has a turn then, and without it no call can be announced either."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._agreed(model, line, tokens)
        except (NatsError, TimeoutError) as error:
            _log.warning("no turns for %s at the moment: %s", model, type(error).__name__)
            return None

    async def _agreed(self, model: str, line: _Line, tokens: list[int]) -> list[float]:
        """Compare and set: what somebody else has reserved meanwhile is read, and decided anew."""
        bucket = self._bucket = self._bucket or await self._js.key_value(LIMITS)
        key = key_of(model)
        while True:
            debt = line.debt
            changed, moments = self._decided(line, tokens)
            if not moments and changed == line.bucket:
                before = line.revision
                await self._read(bucket, key, line)
                if line.revision == before:
                    line.debt -= debt
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


def _hand_on(line: _Line, now: float) -> None:
    """Gives the moments of calls that were stopped to those who wait; what is past by then is lost."""
    spare = sorted((each for each in line.spare if each[1] > now), key=lambda each: each[1])
    waiting = (each for each in line.waiting if not each[1].done())
    for (wanted, future), (tokens, at) in zip(waiting, spare, strict=False):
        future.set_result(at)
        line.debt += (wanted - tokens) if line.limit.tokens_per_minute else 0
        spare = spare[1:]
    line.spare = spare


def key_of(model: str) -> str:
    """The model's name as a key: what a key may not hold is written as `=` and its hexadecimal code."""
    return re.sub(r"[^a-zA-Z0-9_-]", lambda found: f"={ord(found[0]):02x}", model)
