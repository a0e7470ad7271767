"""The price list in memory: read again when it was changed, every minute, and sooner when a model is missing from it."""

import asyncio
import time
from collections.abc import Callable, Iterable

from services.analytics.pricing import PriceList
from services.analytics.store import Store

REFRESH_SECONDS = 60.0
MISSING_SECONDS = 5.0
"""At least so long between two reads, however many unknown models come."""


class PriceCache:
    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._prices: PriceList | None = None
        self._read_at = 0.0
        self._changed = False
        self._turn = asyncio.Lock()
        """Batches ask at the same time: of two reads the one that began first must not be kept as the newer one."""

    def forget(self) -> None:
        """What is in memory is not used for anything that begins after this."""
        self._changed = True

    async def for_models(self, models: Iterable[str]) -> PriceList:
        """The prices, new enough to have these models if anybody has set a price for them.

        `models` may be an iterator: it is gone through once at most, and not while the prices are younger than
        `MISSING_SECONDS` or are read again anyway.

        Raises: Unavailable.
        """
        async with self._turn:
            age = self._clock() - self._read_at
            if (
                self._prices is None
                or self._changed
                or age > REFRESH_SECONDS
                or (
                    age > MISSING_SECONDS
                    and not self._prices.models.issuperset(map(self._prices.priced_as, models))
                )
            ):
                self._changed = False  # before it is read: what changes meanwhile may not be in it
                self._prices = None
                self._prices = await self._store.prices()
                self._read_at = self._clock()
            return self._prices
