"""The price list in memory, asked for by several at once."""

import asyncio
from typing import cast

from services.analytics.prices import PriceCache
from services.analytics.pricing import PriceList
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
