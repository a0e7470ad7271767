"""What was read from Postgres and is remembered, so that a request that needs nothing new does not wait for it.

A database that does not even refuse, because its machine is gone, makes every question last for seconds. So nobody
waits long for something that is remembered: it is asked for in the background, once for all who want it.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from shared.errors import LekhikaError, Unavailable
from shared.tasks import spawn

AWAY_SECONDS = 5.0
"""After a failure what is remembered is not asked for again for so long."""
PATIENCE_SECONDS = 1.0
"""How long one waits for news of something that is remembered."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """In seconds since the last answer about a key."""

    fresh: float
    """Up to this age it is taken as it is."""
    soon: float
    """Up to this age it is taken as it is, too, but asked for again in the background."""
    stale: float
    """Up to this age it is taken if there is no answer within the patience; beyond, never."""


class Remembered(Generic[K, V]):
    """Values by key. That there is none is never remembered: it may be created the next moment."""

    def __init__(
        self,
        ask: Callable[[K], Awaitable[V | None]],
        ages: Ages,
        *,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ask` raises Unavailable; whatever else it raises goes to who waits, and the value is forgotten."""
        self._ask = ask
        self._ages = ages
        self._most = most
        self._clock = clock
        self._known: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._asking: dict[K, asyncio.Task[V | LekhikaError | None]] = {}
        self._away_until = float("-inf")

    async def get(self, key: K) -> V | None:
        """Raises: Unavailable, when there is no answer and it is not remembered; what `ask` raises."""
        known = self._known.get(key)
        age = self._clock() - known[0] if known is not None else float("inf")
        if known is None or age > self._ages.stale:
            return _value(await asyncio.shield(self._question(key)))
        if age > self._ages.fresh and self._clock() >= self._away_until:
            question = self._question(key)
            if age > self._ages.soon:
                return await self._patiently(key, question)
        return known[1]

    def has(self, key: K) -> bool:
        """Whether `get` has something to fall back on without an answer."""
        known = self._known.get(key)
        return known is not None and self._clock() - known[0] <= self._ages.stale

    async def anew(self, key: K) -> V | None:
        """As `get`, but never an answer that was on its way before: for whoever has just written what is asked for."""
        self._asking.pop(key, None)
        return _value(await asyncio.shield(self._question(key)))

    async def _patiently(self, key: K, question: "asyncio.Task[V | LekhikaError | None]") -> V | None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return _value(await asyncio.shield(question))
        except (TimeoutError, Unavailable) as error:
            self._away_until = self._clock() + AWAY_SECONDS
            known = self._known.get(key)
            if known is None:  # forgotten meanwhile
                raise Unavailable("the database does not answer") from error
            return known[1]

    def _question(self, key: K) -> "asyncio.Task[V | LekhikaError | None]":
        """The one that is under way, or a new one."""
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = spawn(self._find(key), name="asking for what is remembered")
        return task

    async def _find(self, key: K) -> V | LekhikaError | None:
        """The answer, or why there is none."""
        asked_at = self._clock()
        try:
            found: V | LekhikaError | None = await self._ask(key)
        except LekhikaError as error:
            found = error
        finally:
            current = self._asking.get(key) is asyncio.current_task()
            if current:
                del self._asking[key]
        if isinstance(found, Unavailable):
            self._away_until = self._clock() + AWAY_SECONDS
            return found
        self._away_until = float("-inf")
        if current:  # else something was forgotten meanwhile, and this may be older
            self._keep(key, asked_at, found)
        return found

    def _keep(self, key: K, asked_at: float, found: V | LekhikaError | None) -> None:
        if found is None or isinstance(found, LekhikaError):
            self._known.pop(key, None)
            return
        self._known[key] = (asked_at, found)
        self._known.move_to_end(key)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def forget(self, which: Callable[[K, V], bool]) -> None:
        """From now on nothing of these is given out that was read before."""
        for key in [key for key, (_, value) in self._known.items() if which(key, value)]:
            del self._known[key]
        self._asking.clear()  # what is under way may have been read before; its answer is not kept


def _value(found: V | LekhikaError | None) -> V | None:
    if isinstance(found, LekhikaError):
        raise found
    return found
