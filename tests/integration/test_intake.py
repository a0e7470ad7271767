"""Slots: never more than there are, none left idle while something waits, and none that one lane keeps for itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from nats.aio.msg import Msg

from services.executor import intake as intakes
from services.executor.intake import Intake, Pull
from shared import subjects
from shared.ids import new_id
from shared.tasks import cancel_and_wait, spawn
from tests.support.world import SECONDS, World, world


@pytest.fixture
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world")) as made:
        yield made


def user_of(partition: int) -> str:
    return next(key for key in iter(new_id, None) if subjects.partition_of(key) == partition)


async def fill(here: World, lane: str, count: int, user: str | None = None) -> None:
    for _ in range(count):
        await here.request({"nodes": TEXT, "output": "text"}, lane=lane, user_id=user or new_id())


TEXT = [{"id": "text", "kind": "template", "template": "hello"}]


class Taken:
    """An intake whose messages are kept until `end` gives their slots back."""

    def __init__(self, here: World, slots: int) -> None:
        self.lanes: list[str] = []
        self.users: list[str] = []
        self.most = 0
        self.changed = asyncio.Event()
        self.intake = Intake(here.nc, slots, self._start)

    def _start(self, msg: Msg, lane: str) -> None:
        self.lanes.append(lane)
        self.users.append(msg.subject.rpartition(".")[2])
        self.most = max(self.most, self.intake.used)
        self.changed.set()
        spawn(msg.ack(), name="ack")

    async def until(self, fact: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not fact():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def taking(here: World, slots: int) -> AsyncIterator[Taken]:
    taken = Taken(here, slots)
    task = spawn(taken.intake.run(), name="intake")
    try:
        yield taken
    finally:
        await cancel_and_wait(task)


async def settled(taken: Taken) -> None:
    """All has come that was going to: every poll was answered or has expired."""
    pulls = [taken.intake._now, *taken.intake._later]
    async with asyncio.timeout(SECONDS):
        while any(pull.outstanding for pull in pulls):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("slots", [2, 3, 4, 10, 20])
async def test_no_more_is_taken_than_there_are_slots_whatever_waits_in_all_lanes_at_once(
    here: World, slots: int
) -> None:
    for partition in range(subjects.PARTITIONS):
        await fill(here, f"later.{partition}", 3)
    await fill(here, subjects.NOW, 25)
    async with taking(here, slots) as taken:
        await taken.until(lambda: len(taken.lanes) >= slots)
        await settled(taken)
    assert (taken.most, len(taken.lanes)) == (slots, slots)


async def test_a_slot_that_becomes_free_is_filled_from_the_one_lane_in_which_something_waits(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many empty lanes are before it in the rotation: they do not cost a rest each."""
    monkeypatch.setattr(intakes, "IDLE_SECONDS", 30.0)
    await fill(here, "later.7", 30)
    async with taking(here, 10) as taken:
        await taken.until(lambda: len(taken.lanes) >= 5)
        for _ in range(10):
            seen = len(taken.lanes)
            taken.intake.free("later", taken.users.pop(0))
            async with asyncio.timeout(5):
                await taken.until(lambda seen=seen: len(taken.lanes) > seen)  # type: ignore[misc]


async def test_the_lanes_take_turns(here: World) -> None:
    """Neighbours, and one slot at a time: whoever is passed over does not lose every turn."""
    users = [user_of(3), user_of(4)]
    await fill(here, subjects.later_lane(users[0]), 100, users[0])
    await fill(here, subjects.later_lane(users[1]), 20, users[1])
    async with taking(here, 2) as taken:
        while len(taken.lanes) < 30:
            seen = len(taken.lanes)
            await taken.until(lambda seen=seen: len(taken.lanes) > seen)  # type: ignore[misc]
            for lane, user in list(zip(taken.lanes, taken.users, strict=True))[seen:]:
                taken.intake.free(lane, user)
    assert min(taken.users.count(user) for user in users) >= 12


async def test_a_poll_that_expires_takes_with_it_just_what_it_had_left(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server takes turns among polls. What is counted off the wrong one is missing until that one expires too."""
    came = asyncio.Semaphore(0)
    over = asyncio.Event()
    pull = Pull(here.nc, subjects.NOW, lambda _: came.release(), over.set)
    await pull.open()
    async with asyncio.timeout(SECONDS):
        monkeypatch.setattr(intakes, "POLL_SECONDS", 2.0)
        await pull.ask(6, wait=True)
        monkeypatch.setattr(intakes, "POLL_SECONDS", 60.0)
        await pull.ask(6, wait=True)
        await fill(here, subjects.NOW, 6)
        await over.wait()
        assert pull.outstanding == 3
        await fill(here, subjects.NOW, 3)
        for _ in range(9):
            await came.acquire()
        assert pull.outstanding == 0
    await pull.close()


@pytest.mark.parametrize("slots", [4, 10, 30])
async def test_later_gets_more_than_half_of_an_idle_executor_and_never_over_four_fifths(
    here: World, slots: int
) -> None:
    await fill(here, "later.7", slots * 2)
    async with taking(here, slots) as taken:
        await taken.until(lambda: taken.intake.running["later"] >= slots // 2)
        await fill(here, subjects.NOW, 1)
        await taken.until(lambda: taken.intake.running[subjects.NOW] == 1)
        assert taken.intake.running["later"] <= slots * 4 / 5
