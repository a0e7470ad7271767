"""Who may take an execution: never on one piece of evidence."""

from datetime import timedelta
from typing import Any

import pytest

from services.executor.claim import POISON_DELIVERIES, Decision, Evidence, decide
from shared import ending
from shared import events as ev
from shared.execution import ExecutionState
from tests.support.make import START, folded, history, requested, started

TTL = 10.0
AFTER = START + timedelta(minutes=1)
BEFORE = START


def decided(state: ExecutionState, evidence: Evidence | None = None, **more: Any) -> Decision:
    given: dict[str, Any] = {"running_here": False, "ttl": TTL, "max_losses": 3, "deliveries": 1}
    return decide(state, "me", evidence=evidence, **{**given, **more})


def evidence(unbroken: float | None = 60, since: Any = None, lists: bool = False) -> Evidence:
    return Evidence(heartbeats_unbroken=unbroken, owner_since=since, owner_lists_it=lists)


def running() -> ExecutionState:
    return folded(history(requested(), started(instance="other")))


def test_a_queued_one_is_claimed() -> None:
    assert decided(folded(history(requested()))) is Decision.CLAIM


def test_a_handed_back_one_is_claimed() -> None:
    release = ev.ExecutionReleased(attempt=1, instance="other", reason=ev.ReleaseReason.SHUTDOWN)
    assert decided(folded(history(requested(), started(instance="other"), release))) is Decision.CLAIM


def test_an_ended_one_is_only_acknowledged() -> None:
    state = running()
    end = ending.completed(state, "text")
    assert decided(folded(history(requested(), started(instance="other"), end))) is Decision.DONE


def test_one_that_runs_here_keeps_running_here() -> None:
    assert decided(running(), running_here=True) is Decision.OURS


@pytest.mark.parametrize(
    "found",
    [
        None,
        evidence(unbroken=None),
        evidence(unbroken=TTL + 1.9),
        evidence(since=BEFORE),
        evidence(since=BEFORE, lists=True),
        evidence(since=AFTER, lists=True),
    ],
    ids=["no evidence", "own heartbeats broken", "own heartbeats too young", "entry older than the claim", "old entry",
         "the owner lists it"],
)  # fmt: skip
def test_a_healthy_owner_is_never_taken_over(found: Evidence | None) -> None:
    assert decided(running(), found) is Decision.LATER


@pytest.mark.parametrize(
    "found", [evidence(), evidence(since=AFTER)], ids=["entry gone", "newer and not listed"]
)
def test_a_dead_owner_is_taken_over(found: Evidence) -> None:
    assert decided(running(), found) is Decision.TAKE_OVER


def test_a_claim_of_our_own_that_we_dropped_is_taken_up_again() -> None:
    assert decided(folded(history(requested(), started(instance="me")))) is Decision.TAKE_OVER


def test_a_stop_of_a_dead_owner_is_ended_without_a_model_call() -> None:
    state = folded(history(requested(), started(instance="other"), ev.StopRequested(by="u")))
    assert decided(state, evidence()) is Decision.END_STOPPED
    assert decided(state, None) is Decision.LATER


def test_losses_of_executors_are_bounded() -> None:
    third = folded(history(requested(), started(1, "x"), started(2, "y"), started(3, "z")))
    assert decided(third) is Decision.LATER
    assert decided(third, evidence()) is Decision.FAIL
    second = folded(history(requested(), started(1, "x"), started(2, "y")))
    assert decided(second, evidence()) is Decision.TAKE_OVER


def test_hand_backs_are_no_losses() -> None:
    events: list[ev.AnyEvent] = [requested()]
    for attempt in range(1, 20):
        release = ev.ExecutionReleased(attempt=attempt, instance="x", reason=ev.ReleaseReason.SHUTDOWN)
        events += [started(attempt, "x"), release]
    assert decided(folded(history(*events))) is Decision.CLAIM


def test_what_is_handed_out_again_and_again_and_never_begins_is_poison() -> None:
    queued = folded(history(requested()))
    assert decided(queued, deliveries=POISON_DELIVERIES - 1) is Decision.CLAIM
    assert decided(queued, deliveries=POISON_DELIVERIES) is Decision.FAIL
    handed_back = ev.ExecutionReleased(attempt=1, instance="x", reason=ev.ReleaseReason.SHUTDOWN)
    begun = folded(history(requested(), started(1, "x"), handed_back))
    assert decided(begun, deliveries=POISON_DELIVERIES) is Decision.CLAIM
