"""However the log is cut into batches, and however often parts of it come again: the rows are what the fold says."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.projection import NODE_TYPES, Row, project
from services.gateway.resource import stop_json
from shared import ending
from shared import events as ev
from shared.execution import ExecutionState, Status, fold
from shared.usage import Certainty
from tests.support.make import START, folded, history, node_completed, node_started, requested, started, usage

IDS = ("x", "y", "z")


@st.composite
def log(draw: st.DrawFn) -> list[ev.Recorded]:
    """Requests of several executions followed by arbitrary events, legal or not, in one sequence."""
    base = folded(history(requested(), started(), node_started("a"), node_completed("a")))
    attempt = st.integers(1, 3)
    choices: st.SearchStrategy[ev.AnyEvent] = st.one_of(
        st.builds(lambda a, i: started(a, i), attempt, st.sampled_from(["v", "w"])),
        st.builds(lambda a: node_started("a", 1, a), attempt),
        st.builds(lambda a: node_completed("a", attempt=a), attempt),
        st.builds(
            lambda a: ev.ExecutionReleased(
                attempt=a, instance="v", reason=ev.ReleaseReason.DRAIN, usage=(usage(),)
            ),
            attempt,
        ),
        st.builds(
            lambda by, force: ev.StopRequested(by=by, force=force), st.sampled_from(["u", "v"]), st.booleans()
        ),
        st.builds(
            lambda lane: ev.ExecutionRequeued(user_id="u", lane=lane, reason="r"),
            st.sampled_from(["now", "later.3"]),
        ),
        st.just(ending.completed(base, "a")),
        st.just(ending.failed(base, ev.ErrorInfo(code="c", message="m"))),
        st.just(ending.stopped(base, by="u", reason=None, at=START)),
        st.just(ev.ExecutionPruned(user_id="u", ended="failed", ended_at=START)),
    )
    found = draw(st.lists(st.tuples(st.sampled_from(IDS), choices), max_size=40))
    known: set[str] = set()
    events: list[tuple[str, ev.AnyEvent]] = []
    for key, event in found:
        if key not in known and draw(st.booleans()):
            events.append((key, requested(kind=draw(st.sampled_from(["included", "none"])))))
            known.add(key)
        events.append((key, event))
    return [
        ev.Recorded(execution_id=key, event=event, seq=n, time=START + timedelta(seconds=n), after=n - 1)
        for n, (key, event) in enumerate(events, start=1)
    ]


def apply(rows: dict[str, Row], batch: Sequence[ev.Recorded]) -> None:
    """What the database does with a batch. It knows only the rows of the executions in it."""
    concerned = {recorded.execution_id for recorded in batch}
    changes = project(batch, {key: row for key, row in rows.items() if key in concerned})
    assert not {row.id for row in changes.rows} & set(changes.pruned)
    for row in changes.rows:
        assert row.id not in rows or rows[row.id].last_seq < row.last_seq
        rows[row.id] = row
    for key in changes.pruned:
        del rows[key]


def expected(events: Sequence[ev.Recorded]) -> dict[str, Row]:
    rows = {}
    for key in IDS:
        mine = [recorded for recorded in events if recorded.execution_id == key]
        state = fold(mine)
        if state is not None and not state.pruned:
            shown = [recorded.seq for recorded in mine if recorded.event.type not in NODE_TYPES]
            rows[key] = _row(state, shown[-1])
    return rows


def _row(state: ExecutionState, last_seq: int) -> Row:
    counts: dict[str, Any] = {"certainty": Certainty.MEASURED}
    if state.ended:
        kinds = ("input", "cached", "output", "thoughts", "tool")
        counts = {f"{kind}_tokens": getattr(state.tokens, kind) for kind in kinds}
        counts["certainty"] = state.tokens.certainty
    elif state.attempt and state.kind != "none":
        counts["certainty"] = Certainty.UNKNOWN
    return Row(
        id=state.id,
        user_id=state.user_id,
        engine_id=state.engine.id,
        engine_name=state.engine.name,
        engine_version=state.engine.version,
        status=state.status,
        kind=state.kind.value,
        lane=state.lane,
        created_at=state.requested_at,
        started_at=state.started_at,
        ended_at=state.ended_at,
        attempt=state.attempt,
        worker=state.owner,
        stop=stop_json(state.stop),
        error=state.error.model_dump() if state.error else None,
        last_seq=last_seq,
        **counts,
    )


@given(log(), st.lists(st.integers(0, 45), max_size=6))
def test_any_cut_into_batches_gives_the_rows_of_the_whole_history(
    events: list[ev.Recorded], cuts: list[int]
) -> None:
    rows: dict[str, Row] = {}
    places = [0, *sorted(cuts), len(events)]
    for start, end in pairwise(places):
        apply(rows, events[start:end])
    assert rows == expected(events)


@given(log())
def test_one_event_at_a_time_gives_the_rows_after_every_event(events: list[ev.Recorded]) -> None:
    rows: dict[str, Row] = {}
    for number, recorded in enumerate(events, start=1):
        apply(rows, [recorded])
        assert rows == expected(events[:number])


@given(log(), st.data())
def test_what_comes_again_changes_nothing(events: list[ev.Recorded], data: st.DataObject) -> None:
    """A pruned execution has no row that could tell: of those the position keeps repeats away."""
    events = [recorded for recorded in events if recorded.event.type != "pruned"]
    rows: dict[str, Row] = {}
    done = 0
    while done < len(events):
        start = data.draw(st.integers(0, done))
        done = data.draw(st.integers(done + 1, len(events)))
        apply(rows, events[start:done])
    assert rows == expected(events)


@given(log())
def test_node_events_need_not_be_given(events: list[ev.Recorded]) -> None:
    rows: dict[str, Row] = {}
    apply(rows, [recorded for recorded in events if recorded.event.type not in NODE_TYPES])
    assert rows == expected(events)


def test_an_end_is_the_last_word_and_what_follows_is_a_fault() -> None:
    base = folded(history(requested(), started()))
    late = history(
        requested(), started(), ending.completed(base, "a"), ev.StopRequested(by="u"), execution_id="x"
    )
    changes = project(late, {})
    (row,) = changes.rows
    assert (row.status, row.stop, row.last_seq) == (Status.COMPLETED, None, 4)
    assert changes.faults == ("stop_requested of x while completed at sequence 4",)
    assert project(late, {"x": row}).rows == ()
    assert (
        project([replace_seq(late[1], 9)], {"x": replace(row, last_seq=5)}).rows[0].status is Status.COMPLETED
    )


def replace_seq(recorded: ev.Recorded, seq: int) -> ev.Recorded:
    return replace(recorded, seq=seq)
