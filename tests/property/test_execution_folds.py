"""Whatever order and however often events are delivered: the fold neither fails nor changes its mind."""

from hypothesis import given
from hypothesis import strategies as st

from shared import ending
from shared import events as ev
from shared.execution import ENDED, fold
from tests.support.make import START, folded, history, node_completed, node_started, requested, started, usage


@st.composite
def anything(draw: st.DrawFn) -> list[ev.AnyEvent]:
    """A request followed by arbitrary events, legal or not."""
    base = folded(history(requested()))
    attempt = st.integers(1, 3)
    node = st.sampled_from(["a", "b", "parts/0"])
    choices = st.one_of(
        st.builds(lambda a, i: started(a, i), attempt, st.sampled_from(["x", "y"])),
        st.builds(lambda n, a, t: node_started(n, t, a), node, attempt, attempt),
        st.builds(lambda n, a: node_completed(n, attempt=a), node, attempt),
        st.builds(
            lambda a: ev.ExecutionReleased(
                attempt=a, instance="x", reason=ev.ReleaseReason.SHUTDOWN, usage=(usage(),)
            ),
            attempt,
        ),
        st.just(ev.StopRequested(by="u")),
        st.just(ev.ExecutionRequeued(user_id="u", lane="now", reason="promoted")),
        st.just(ending.completed(base, "a")),
        st.just(ending.failed(base, ev.ErrorInfo(code="c", message="m"))),
        st.just(ending.stopped(base, by="u", reason=None, at=START)),
        st.just(ev.ExecutionPruned(user_id="u", ended="failed", ended_at=START)),
    )
    return [requested(), *draw(st.lists(choices, max_size=25))]


@given(anything(), st.integers(0, 30))
def test_any_prefix_folds_and_continuing_from_it_gives_the_same(events: list[ev.AnyEvent], cut: int) -> None:
    log = history(*events, execution_id="x")
    assert fold(log[cut:], fold(log[:cut])) == fold(log)


@given(anything(), st.data())
def test_repeated_deliveries_are_harmless(events: list[ev.AnyEvent], data: st.DataObject) -> None:
    log = history(*events, execution_id="x")
    again = data.draw(st.integers(0, len(log)))
    start = data.draw(st.integers(0, again))
    assert fold([*log[:again], *log[start:again], *log[again:]]) == fold(log)


@given(anything())
def test_an_end_is_final(events: list[ev.AnyEvent]) -> None:
    ended = None
    state = None
    for recorded in history(*events):
        state = fold([recorded], state)
        assert state is not None
        if ended is not None:
            assert (state.status, state.end, state.ended_at) == ended
        elif state.status in ENDED:
            ended = (state.status, state.end, state.ended_at)


@given(anything())
def test_every_event_survives_being_stored(events: list[ev.AnyEvent]) -> None:
    for event in events:
        assert ev.decode(ev.encode(event)) == event
