"""All that may happen to a ledger at the same time: replays, cuts, two replicas, rebuilds, re-pricing, closing of days."""

import asyncio
import random
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.analytics.closed_days import close_days
from services.analytics.pricing import PriceList
from services.analytics.rebuild import rebuild
from services.analytics.reprice import Wanted, reprice
from services.analytics.store import Store
from shared import events as ev
from shared.db import transaction
from shared.errors import Unavailable
from tests.support.ledger import arrive, end

_ANY_DAY = text("SELECT EXISTS (SELECT FROM usage_days)")


async def storm(
    engine: AsyncEngine, dice: random.Random, prices: PriceList, executions: int
) -> Sequence[ev.Recorded]:
    """What happened once. Whoever looks meanwhile sees no difference between ledger, rollups and closed days."""
    events = [end(dice) for _ in range(executions)]
    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        replicas = [
            group.create_task(_replica(engine, random.Random(dice.random()), events, prices))
            for _ in range(2)
        ]
        for disturb in (_rebuild, _reprice, _close, _look):
            group.create_task(disturb(engine, done))
        await asyncio.wait(replicas)
        done.set()
    return events


async def _replica(
    engine: AsyncEngine, dice: random.Random, events: Sequence[ev.Recorded], prices: PriceList
) -> None:
    """Some batches of the whole stream twice, in any order, and each is sometimes given back and taken again."""
    order = [*events, *dice.choices(events, k=len(events) // 2)]
    dice.shuffle(order)
    while order:
        size = dice.randint(1, 60)
        batch, order = order[:size], order[size:]
        counted = await Store(engine).count(arrive(batch, prices))
        assert counted.rejects == []
        if dice.random() < 0.1:
            order += batch


async def _rebuild(engine: AsyncEngine, done: asyncio.Event) -> None:
    while not done.is_set():
        found = await rebuild(engine)
        assert (found.corrected, found.removed) == (0, 0), "rollups and ledger never differ"


async def _reprice(engine: AsyncEngine, done: asyncio.Event) -> None:
    while not done.is_set():
        assert (await reprice(engine, Wanted()))["changed"] == []


async def _close(engine: AsyncEngine, done: asyncio.Event) -> None:
    """Two replicas do it. Whoever waits too long for the others gives up and comes again."""
    closed = False
    while not done.is_set():
        for ended in await asyncio.gather(close_days(engine), close_days(engine), return_exceptions=True):
            if isinstance(ended, BaseException):
                assert isinstance(ended, Unavailable)
                assert "lock timeout" in str(ended)
        async with transaction(engine) as connection:
            closed |= (await connection.execute(_ANY_DAY)).scalar_one()
    assert closed


async def _look(engine: AsyncEngine, done: asyncio.Event) -> None:
    while not done.is_set():
        assert await Store(engine).differences() == []
