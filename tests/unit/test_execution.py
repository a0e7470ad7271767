"""The fold: legal transitions, first end wins, repeats are harmless, usage is never lost."""

import pytest

from shared import ending
from shared import events as ev
from shared.execution import LEGAL, ExecutionState, NodeStatus, Status, fold
from shared.usage import Certainty
from tests.support.make import START, folded, history, node_completed, node_started, requested, started, usage


def stop() -> ev.StopRequested:
    return ev.StopRequested(by="user", reason="enough")


def end_of(events: list[ev.Recorded], kind: str) -> ev.AnyEvent:
    state = folded(events)
    if kind == "completed":
        return ending.completed(state, "text")
    if kind == "stopped":
        return ending.stopped(state, by="user", reason=None, at=START)
    return ending.failed(state, ev.ErrorInfo(code="x", message="y"))


def test_a_request_alone_is_queued() -> None:
    assert folded(history(requested())).status is Status.QUEUED


def test_nothing_folds_to_nothing() -> None:
    assert fold([]) is None
    assert fold(history(started())) is None


def test_a_claim_makes_it_running_and_owned() -> None:
    state = folded(history(requested(), started(instance="a")))
    assert (state.status, state.owner, state.attempt) == (Status.RUNNING, "a", 1)


def test_a_stop_of_a_queued_execution_is_stopping_until_its_end_is_in_the_log() -> None:
    assert folded(history(requested(), stop())).status is Status.STOPPING


def test_a_node_started_after_the_stop_changes_nothing_and_is_noticed() -> None:
    state = folded(history(requested(), started(), stop(), node_started("a")))
    assert "a" not in state.nodes
    assert state.anomalies == ("node_started while stopping at sequence 4",)


@pytest.mark.parametrize("first", ["completed", "stopped", "failed"])
@pytest.mark.parametrize("second", ["completed", "stopped", "failed"])
def test_the_first_end_wins_and_a_second_is_noticed(first: str, second: str) -> None:
    before = history(requested(), started())
    events = [r.event for r in before]
    state = folded(history(*events, end_of(before, first), end_of(before, second)))
    assert state.status == first
    assert len(state.anomalies) == 1


def test_a_claim_of_the_wrong_attempt_does_not_take_ownership() -> None:
    state = folded(history(requested(), started(1, "a"), started(1, "b")))
    assert state.owner == "a"
    assert state.anomalies


def test_a_takeover_interrupts_what_ran_and_keeps_what_was_completed() -> None:
    state = folded(
        history(
            requested(),
            started(),
            node_started("a"),
            node_completed("a"),
            node_started("b"),
            started(2, "other"),
        )
    )
    assert state.nodes["a"].status is NodeStatus.COMPLETED
    assert state.nodes["b"].status is NodeStatus.INTERRUPTED
    assert (state.owner, state.attempt) == ("other", 2)


def test_an_event_of_an_older_attempt_is_refused() -> None:
    state = folded(history(requested(), started(), started(2, "other"), node_completed("a", attempt=1)))
    assert "a" not in state.nodes


def test_a_hand_back_is_queued_again_and_keeps_its_usage() -> None:
    release = ev.ExecutionReleased(
        attempt=1, instance="here", reason=ev.ReleaseReason.SHUTDOWN, usage=(usage(output=7),)
    )
    state = folded(history(requested(), started(), node_started("a"), release))
    assert (state.status, state.owner, state.tokens.output) == (Status.QUEUED, None, 7)


def test_usage_is_the_sum_of_completed_nodes_lost_tries_and_lost_attempts() -> None:
    state = folded(
        history(
            requested(),
            started(),
            node_started("a"),
            node_started("a", 2, lost=(usage(output=3),)),
            node_completed("a", node_attempt=2, usage=(usage(output=5),)),
            node_started("b"),
            started(2, "other", lost=(ending.estimated(usage(output=11)),)),
        )
    )
    assert state.tokens.output == 3 + 5 + 11
    assert state.tokens.certainty is Certainty.ESTIMATED


def test_a_node_keeps_what_its_earlier_calls_used_also_over_a_takeover() -> None:
    events: list[ev.AnyEvent] = [
        requested(),
        started(),
        node_started("a"),
        node_started("a", 2, lost=(usage(output=3),)),
        started(2, "other"),
        node_started("a", 3, attempt=2),
        node_completed("a", node_attempt=3, attempt=2, usage=(usage(output=5),)),
    ]
    node = folded(history(*events)).nodes["a"]
    assert sum(part.tokens.output for part in (*node.usage, *node.spent)) == 8


def test_an_end_carries_all_usage_and_is_the_last_word_on_it() -> None:
    events = history(requested(), started(), node_started("a"), node_completed("a"), node_started("b"))
    call = ending.OpenCall(node="b", node_attempt=1, text=None, usage=(usage(output=4),))
    end = ending.stopped(folded(events), by="user", reason=None, at=START, open_calls=[call])
    state = folded(history(*(r.event for r in events), end))
    assert state.tokens.output == 9
    assert state.usage == end.summary.usage


def test_a_stop_keeps_who_asked_first() -> None:
    state = folded(history(requested(), started(), stop(), ev.StopRequested(by="other", force=True)))
    assert state.stop is not None
    assert (state.stop.by, state.stop.force) == ("user", True)


def test_repeats_and_older_events_change_nothing() -> None:
    events = history(requested(), started(), node_started("a"), node_completed("a"))
    assert fold(events, folded(events)) == folded(events)
    assert fold([*events[:2], *events[:2], *events[2:]]) == folded(events)


def test_every_type_of_event_has_its_legal_states() -> None:
    kinds = {model.model_fields["type"].default for model in ev.AnyEvent.__args__}
    assert set(LEGAL) == kinds - {"requested"}


def test_a_tombstone_only_follows_an_end() -> None:
    tombstone = ev.ExecutionPruned(user_id="u", ended="completed", ended_at=START)
    early: ExecutionState = folded(history(requested(), started(), tombstone))
    assert not early.pruned
    before = history(requested(), started())
    late = folded(history(requested(), started(), end_of(before, "completed"), tombstone))
    assert late.pruned
