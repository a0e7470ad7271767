"""Copies of stored events are hints: some are missing, some come twice, in any order. Whoever follows an execution, or
owns it, ends with the state of the log all the same, and never has one with a hole in it.
"""

from hypothesis import given
from hypothesis import strategies as st

from services.executor.journal import Journal
from shared import events as ev
from shared.execution import ExecutionState, fold
from shared.log import Follower
from tests.property.test_execution_folds import anything
from tests.support.make import folded
from tests.support.memory_log import MemoryLog

KEY = "x"


async def stored(events: list[ev.AnyEvent]) -> tuple[MemoryLog, list[ev.Recorded]]:
    log = MemoryLog()
    after = 0
    for event in events:
        after = await log.append(KEY, event, after)
    return log, list(await log.load(KEY))


@given(events=anything(), data=st.data())
async def test_a_follower_ends_with_the_state_of_the_log(
    events: list[ev.AnyEvent], data: st.DataObject
) -> None:
    log, history = await stored(events)
    copies = data.draw(st.lists(st.sampled_from(history), max_size=30))
    follower = Follower(log, KEY)
    state: ExecutionState | None = None
    heard: list[ev.Recorded] = []
    for copy in copies:
        follower.offer(copy)
        heard += await follower.next()
    heard += await follower.catch_up()
    state = fold(heard, state)
    assert heard == history
    assert state == fold(history)


@given(events=anything(), data=st.data())
async def test_an_owner_takes_in_only_what_comes_next(events: list[ev.AnyEvent], data: st.DataObject) -> None:
    log, history = await stored(events)
    known = data.draw(st.integers(1, len(history)))
    journal = Journal(log, folded(history[:known]), 1, "here")
    for copy in data.draw(st.lists(st.sampled_from(history), max_size=30)):
        journal.offer(copy)
        place = [recorded.seq for recorded in history].index(journal.state.last_seq)
        assert journal.state == fold(history[: place + 1])
    await journal.reload()
    assert journal.state == fold(history)
