"""What the gateway remembers: who waits for the database, and how often it is asked."""

import asyncio

import pytest

from services.gateway import remembered
from services.gateway.remembered import AWAY_SECONDS, Ages, Remembered
from shared.errors import Unavailable

AGES = Ages(fresh=10.0, soon=60.0, stale=3600.0)


class World:
    """A clock, and a database that answers `value`, once it is not `held` any more."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.value: str | None = "old"
        self.away = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.began = asyncio.Event()
        self.memory: Remembered[str, str] = Remembered(self.ask, AGES, most=2, clock=lambda: self.now)

    async def ask(self, _: str) -> str | None:
        self.asked += 1
        value = self.value
        self.began.set()
        await self.answers.wait()
        if self.away:
            raise Unavailable("away")
        return value

    async def get(self) -> str | None:
        async with asyncio.timeout(5):
            return await self.memory.get("k")

    async def get_in_the_end(self, wanted: str | None) -> None:
        """Asks until the background has brought `wanted`."""
        async with asyncio.timeout(5):
            while await self.memory.get("k") != wanted:  # noqa: ASYNC110 - whatever the loop does meanwhile
                await asyncio.sleep(0)


async def test_nobody_waits_for_what_is_known_and_the_database_is_asked_once() -> None:
    world = World()
    await world.get()
    world.value = "new"
    world.answers.clear()
    world.now = 20.0
    assert await asyncio.gather(*(world.get() for _ in range(20))) == ["old"] * 20
    world.answers.set()
    await world.get_in_the_end("new")
    assert world.asked == 2


async def test_an_old_value_waits_a_little_for_news_and_then_not_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remembered, "PATIENCE_SECONDS", 0.01)
    world = World()
    await world.get()
    world.value = "new"
    world.answers.clear()
    world.now = 100.0
    assert await world.get() == "old"
    assert [await world.get() for _ in range(5)] == ["old"] * 5
    assert world.asked == 2
    world.answers.set()
    world.now += AWAY_SECONDS
    await world.get_in_the_end("new")


async def test_what_is_old_and_gone_is_not_given_out_once_more() -> None:
    world = World()
    await world.get()
    world.value = None
    world.now = 100.0
    assert await world.get() is None


async def test_what_is_too_old_is_never_given_out_while_the_database_is_away() -> None:
    world = World()
    await world.get()
    world.away = True
    world.now = 3600.0
    assert await world.get() == "old"
    world.now = 3601.0
    with pytest.raises(Unavailable):
        await world.get()


async def test_an_answer_that_may_be_older_than_a_forgetting_is_not_kept() -> None:
    world = World()
    world.answers.clear()
    first = asyncio.gather(world.get())
    await world.began.wait()
    world.began.clear()
    world.value = None
    world.memory.forget(lambda *_: True)
    second = asyncio.gather(world.get())
    await world.began.wait()
    world.answers.set()
    assert list(await second) == [None]
    assert list(await first) == ["old"]
    assert await world.get() is None


async def test_only_so_many_are_remembered() -> None:
    world = World()
    for key in ("a", "b", "c", "b", "c"):
        await world.memory.get(key)
    assert world.asked == 3
