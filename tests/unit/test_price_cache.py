"""The price list in memory: when it is read again, also where several ask for it at once."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import cast

from services.analytics.prices import MISSING_SECONDS, REFRESH_SECONDS, PriceCache
from services.analytics.pricing import Price, PriceList, TokenKind
from services.analytics.store import Store
from shared.tasks import spawn


class Gated:
    """Reads lists of prices; each read is finished when it is let through."""

    def __init__(self) -> None:
        self.lists: list[PriceList] = []
        self.gates: list[asyncio.Event] = []

    async def prices(self) -> PriceList:
        found = PriceList([])
        self.lists.append(found)
        self.gates.append(asyncio.Event())
        await self.gates[-1].wait()
        return found


async def test_a_list_that_was_read_before_a_change_does_not_replace_one_that_was_read_after_it() -> None:
    store = Gated()
    cache = PriceCache(cast("Store", store))
    asking = [spawn(cache.for_models([]), name="before")]
    await asyncio.sleep(0)
    cache.forget()
    asking.append(spawn(cache.for_models([]), name="after"))
    while not all(task.done() for task in asking):
        await asyncio.sleep(0)
        for gate in reversed(store.gates):  # the later read is the quicker one
            gate.set()
            await asyncio.sleep(0)
    assert await cache.for_models([]) is store.lists[-1]
    assert len(store.lists) == 2


class Counted:
    """Has a price for `gemini`, and counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0

    async def prices(self) -> PriceList:
        self.reads += 1
        since = datetime(2026, 1, 1, tzinfo=UTC)
        kind = TokenKind.INPUT
        return PriceList(
            [Price(model="gemini", kind=kind, per_million=Decimal(1), valid_from=since, version=1)]
        )


async def test_a_model_that_is_missing_has_the_list_read_again_but_not_all_the_time() -> None:
    store, now = Counted(), 100.0
    cache = PriceCache(cast("Store", store), clock=lambda: now)
    for passed, models, reads in [
        (0.0, ["gemini"], 1),
        (MISSING_SECONDS - 1, ["other"], 1),
        (2.0, ["gemini", "gemini-001"], 1),
        (0.0, ["gemini", "other"], 2),
        (MISSING_SECONDS - 1, ["other"], 2),
        (2.0, ["other"], 3),
        (REFRESH_SECONDS - 1, ["gemini"], 3),
        (2.0, ["gemini"], 4),
    ]:
        now += passed
        await cache.for_models(iter(models))
        assert store.reads == reads, (now, models)
