"""One user fills every slot that he may: all others start and end beside him, also those in his partition.

Nothing here is timed: none of his ends, so whoever starts does so beside him, and he must not have had all slots.
"""

from collections.abc import AsyncIterator

import pytest

from shared import subjects
from shared.subjects import NOW, partition_of
from tests.support.crowd import members
from tests.support.make import MODEL
from tests.support.world import SECONDS, World, world

EXECUTORS = 2
SLOTS = 20
PER_USER = 4
QUEUED = 120
OTHERS = 30
LONG = "[[standin chunk_ms=1000 chunks=3000]]"
SHORT = "[[standin words=3]]"


def call(options: str) -> dict[str, object]:
    return {"nodes": [{"id": "a", "kind": "generate", "model": MODEL, "prompt": options}], "output": "a"}


@pytest.fixture
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world")) as made:
        yield made


async def ask(here: World, lanes: "Door", user: str, options: str) -> str:
    return await here.request(call(options), user_id=user, lane=lanes.lane(user))


class Door:
    """A user's first few go to `now`, as at the gateway; nobody is promoted meanwhile."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}

    def lane(self, user: str) -> str:
        count = self._open[user] = self._open.get(user, 0) + 1
        return NOW if count <= PER_USER else subjects.later_lane(user)


@pytest.mark.fault
async def test_who_fills_his_slots_delays_nobody_else(here: World) -> None:
    for _ in range(EXECUTORS):
        here.executor(LEKHIKA_SLOTS=str(SLOTS))
    hog, *others = members(5, 1 + OTHERS // 2)
    others += members(5, OTHERS // 2, inside=False)
    door = Door()
    his = [await ask(here, door, hog.user_id, LONG) for _ in range(QUEUED)]
    # more than he gets he is not given; less would be no test
    await here.ask("/admin/wait", streaming=SLOTS * EXECUTORS // 2, timeout=SECONDS)
    asked = [await ask(here, door, person.user_id, SHORT) for person in others]
    for key in asked:
        state = await here.ended(key)
        assert state.status == "completed"
    states = [await here.state(key) for key in his]
    started = [state for state in states if state.started_at is not None]
    assert SLOTS * EXECUTORS // 2 <= len(started) <= SLOTS * EXECUTORS * 4 // 5
    assert {partition_of(person.user_id) for person in others[: OTHERS // 2]} == {5}
