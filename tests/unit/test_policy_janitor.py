"""What the janitor decides, read as transcripts: a history, who lives, how far the readers are."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.janitor.evidence import BETWEEN_SECONDS, UNBROKEN_SECONDS, Suspicion, look
from services.janitor.policy import (
    LOST,
    Action,
    Decision,
    Fleet,
    Limits,
    Marks,
    Worker,
    artifacts_of,
    judge_ended,
    judge_open,
    tombstone,
)
from shared import events as ev
from shared import workflow as wf
from shared.execution import fold
from shared.usage import Kind, ModelUsage, Tier, Tokens
from tests.support.make import folded

ID = "0190b7e0-0000-7000-8000-000000000001"
BEGIN = datetime(2026, 11, 1, 12, tzinfo=UTC)
LIMITS = Limits(retention=timedelta(hours=24))
ENGINE = ev.EngineRef(id="e", name="E", version=1)
WORKFLOW = wf.Workflow.model_validate(
    {"nodes": [{"id": "t", "kind": "template", "template": "x"}], "output": "t"}
)
REQUESTED = ev.ExecutionRequested(
    user_id="u",
    lane="now",
    engine=ENGINE,
    kind=Kind.NONE,
    body=ev.RequestBody(workflow=WORKFLOW, input={}),
    limits=wf.Limits(seconds=100),
)
SUMMARY = ev.Summary(user_id="u", engine=ENGINE, kind=Kind.NONE, attempt=1, requested_at=BEGIN)
COMPLETED = ev.ExecutionCompleted(summary=SUMMARY, output="t")
STARTED = ev.ExecutionStarted(attempt=1, instance="x1")
STOP = ev.StopRequested(by="u")
LOST_AGAIN = ev.ExecutionRequeued(user_id="u", lane="now", reason=LOST)


def history(*events: tuple[float, ev.AnyEvent]) -> Sequence[ev.Recorded]:
    """Each event with its second after the beginning; sequences 10, 20, 30, ..."""
    return [
        ev.Recorded(
            execution_id=ID,
            event=event,
            seq=10 * (place + 1),
            time=BEGIN + timedelta(seconds=second),
            after=10 * place,
        )
        for place, (second, event) in enumerate(events)
    ]


def marks(seconds: float, *, counted: int = 1000, projected: int | None = 1000, lanes: int = 1000) -> Marks:
    now = BEGIN + timedelta(seconds=seconds)
    return Marks(now=now, counted=counted, projected=projected, lanes={"now": lanes, "later.3": lanes})


def alive(instance: str, second: float, *executions: str) -> Fleet:
    return {instance: Worker(at=BEGIN + timedelta(seconds=second), executions=frozenset(executions))}


ENDED = history((0, REQUESTED), (1, STARTED), (2, COMPLETED))
DAY = 24 * 3600.0


def test_prunes_what_ended_a_day_ago_and_is_counted_and_projected() -> None:
    assert judge_ended(False, ENDED, marks(DAY + 2), LIMITS).action is Action.PRUNE


@pytest.mark.parametrize(
    ("kept", "ends", "at", "reason"),
    [
        (True, ENDED, marks(2 * DAY), "keeps"),
        (False, ENDED, marks(DAY + 1.9), "ended 24.0 h ago"),
        (False, ENDED, marks(2 * DAY, counted=29), "counted"),
        (False, ENDED, marks(2 * DAY, projected=29), "read model"),
        (False, ENDED, marks(2 * DAY, projected=None), "read model"),
        (False, ENDED[:2], marks(2 * DAY), "running"),
        (False, ENDED[1:], marks(2 * DAY), "no request"),
        (False, [], marks(2 * DAY), "no request"),
    ],
)
def test_leaves_and_says_why(kept: bool, ends: Sequence[ev.Recorded], at: Marks, reason: str) -> None:
    decision = judge_ended(kept, ends, at, LIMITS)
    assert decision.action is Action.NOTHING
    assert reason in decision.reason


@pytest.mark.parametrize(
    ("user", "at", "action"),
    [
        (SUMMARY.user_id, marks(3), Action.PRUNE),
        (SUMMARY.user_id, marks(3, counted=29), Action.NOTHING),
        ("somebody else", marks(3), Action.NOTHING),
    ],
)
def test_of_an_erased_person_all_goes_as_soon_as_it_is_counted(user: str, at: Marks, action: Action) -> None:
    assert judge_ended(True, ENDED, at, LIMITS, erased_user=user).action is action


def test_what_is_pruned_is_not_pruned_again() -> None:
    state = fold(ENDED)
    assert state is not None
    pruned = history((0, REQUESTED), (1, STARTED), (2, COMPLETED), (DAY + 3, tombstone(state)))
    assert judge_ended(False, pruned, marks(2 * DAY), LIMITS).reason == "it is pruned already"


def test_the_tombstone_answers_for_the_usage() -> None:
    usage = (ModelUsage(model="m", tier=Tier.PAYG, tokens=Tokens(input=3, output=4)),)
    ended = COMPLETED.model_copy(update={"summary": SUMMARY.model_copy(update={"usage": usage})})
    state = fold(history((0, REQUESTED), (1, STARTED), (2, ended)))
    assert state is not None
    left = tombstone(state)
    assert (left.ended, left.user_id, left.usage) == ("completed", "u", usage)
    assert left.ended_at == BEGIN + timedelta(seconds=2)


RUNNING = history((0, REQUESTED), (1, STARTED))
QUEUED = history((0, REQUESTED))
STOPPING = history((0, REQUESTED), (1, STARTED), (5, STOP))
OVERDUE = 1 + 100 + 60.0


@pytest.mark.parametrize(
    ("events", "fleet", "at", "action"),
    [
        # nobody has it
        (QUEUED, {}, marks(60), Action.REQUEUE),
        (RUNNING, {}, marks(60), Action.REQUEUE),
        (RUNNING, alive("x1", 59), marks(60), Action.REQUEUE),
        # a lane has it, or somebody runs it, or its owner has not been heard since
        (QUEUED, {}, marks(60, lanes=9), Action.NOTHING),
        (RUNNING, {}, marks(60, lanes=9), Action.NOTHING),
        (RUNNING, alive("x1", 59, ID), marks(60), Action.NOTHING),
        (RUNNING, alive("x2", 59, ID), marks(60), Action.NOTHING),
        (RUNNING, alive("x1", 2), marks(60), Action.NOTHING),
        # a stop that its owner can not answer
        (STOPPING, {}, marks(20.1), Action.STOP),
        (STOPPING, {}, marks(20), Action.NOTHING),
        (STOPPING, {}, marks(20.1, lanes=9), Action.STOP),
        (STOPPING, alive("x1", 20, ID), marks(600), Action.NOTHING),
        (history((0, REQUESTED), (5, STOP)), {}, marks(21), Action.STOP),
        # past its limit and the grace
        (RUNNING, alive("x1", OVERDUE, ID), marks(OVERDUE), Action.ASK_STOP),
        (RUNNING, alive("x1", OVERDUE, ID), marks(OVERDUE - 0.1), Action.NOTHING),
        (QUEUED, {}, marks(OVERDUE, lanes=9), Action.NOTHING),
        # long ago, but nobody has run it since: it waits for an executor
        (RUNNING, {}, marks(3600, lanes=9), Action.NOTHING),
        (RUNNING, alive("x1", 3600), marks(3600, lanes=9), Action.NOTHING),
        (RUNNING, {}, marks(3600), Action.REQUEUE),
        # ended
        (ENDED, {}, marks(600), Action.NOTHING),
        ([], {}, marks(600), Action.NOTHING),
    ],
)
def test_open_executions(events: Sequence[ev.Recorded], fleet: Fleet, at: Marks, action: Action) -> None:
    assert judge_open(events, fleet, at, LIMITS).action is action


def test_every_request_must_have_left_its_lane() -> None:
    promoted = ev.ExecutionRequeued(user_id="u", lane="now", reason="promoted")
    waiting = REQUESTED.model_copy(update={"lane": "later.3"})
    at = replace(marks(60), lanes={"now": 1000, "later.3": 9})
    assert judge_open(history((0, waiting), (1, promoted)), {}, at, LIMITS).action is Action.NOTHING
    assert judge_open(history((0, waiting)), {}, replace(at, lanes={}), LIMITS).action is Action.NOTHING


def test_gives_up_after_three_requeues_without_a_start() -> None:
    tried: list[tuple[float, ev.AnyEvent]] = [
        (0.0, REQUESTED),
        *((second, LOST_AGAIN) for second in (10.0, 20.0, 30.0)),
    ]
    assert judge_open(history(*tried[:-1]), {}, marks(90), LIMITS).action is Action.REQUEUE
    assert judge_open(history(*tried), {}, marks(90), LIMITS).action is Action.FAIL
    assert judge_open(history(*tried, (40, STARTED)), {}, marks(90), LIMITS).action is Action.REQUEUE


def test_waiting_for_an_executor_is_no_run_time() -> None:
    released = ev.ExecutionReleased(attempt=1, instance="x1", reason=ev.ReleaseReason.SHUTDOWN)
    node = ev.NodeStarted(attempt=2, node="t", kind="template", node_attempt=1)
    second, third = (ev.ExecutionStarted(attempt=n, instance=f"x{n}") for n in (2, 3))
    handed_back = history((0, REQUESTED), (10, STARTED), (15, released), (100, second), (107, node))
    assert folded(handed_back[:3]).run_time(BEGIN + timedelta(seconds=90)) == timedelta(seconds=5)
    assert folded(handed_back).run_time(BEGIN + timedelta(seconds=110)) == timedelta(seconds=15)
    taken_over = [*handed_back, *history((0, REQUESTED), *[(200, third)] * 5)[5:]]
    assert folded(taken_over).run_time(BEGIN + timedelta(seconds=203)) == timedelta(seconds=5 + 7 + 3)


def test_finds_every_artifact() -> None:
    refs = [ev.ArtifactRef(artifact=f"{ID}/{n}", size=1, sha256="") for n in range(3)]
    node = ev.NodeCompleted(
        attempt=1, node="t", kind="template", node_attempt=1, output=ev.TextRef(ref=refs[1], characters=1)
    )
    partial = ev.Partial(node="t", attempt=1, output=ev.TextRef(ref=refs[2], characters=1))
    stop = ev.StopInfo(by="u", at=BEGIN)
    ended = ev.ExecutionStopped(summary=SUMMARY, stop=stop, partials=(partial,))
    body = REQUESTED.model_copy(update={"body": refs[0]})
    assert artifacts_of(history((0, body), (1, STARTED), (2, node), (3, ended))) == refs


def test_a_decision_is_a_value() -> None:
    assert judge_open(QUEUED, {}, marks(60), LIMITS) == Decision(Action.REQUEUE, f"{LOST} (nobody owns it)")


SUSPECT = {ID: Suspicion(Action.REQUEUE, 20)}


def test_one_look_is_no_evidence() -> None:
    seen, proven = look({}, SUSPECT, now=100, unbroken_since=0)
    assert not proven
    seen, proven = look(seen, SUSPECT, now=100 + BETWEEN_SECONDS - 0.1, unbroken_since=0)
    assert not proven
    assert look(seen, SUSPECT, now=100 + BETWEEN_SECONDS, unbroken_since=0)[1] == {ID}


@pytest.mark.parametrize(
    "between",
    [
        ({}, 0.0),
        ({ID: Suspicion(Action.REQUEUE, 30)}, 0.0),
        ({ID: Suspicion(Action.STOP, 20)}, 0.0),
        (SUSPECT, None),
    ],
    ids=["not suspect", "an event came", "another act", "own heartbeats failed"],
)
def test_looks_must_agree(between: tuple[dict[str, Suspicion], float | None]) -> None:
    suspects, unbroken = between
    seen, _ = look({}, SUSPECT, now=100, unbroken_since=0)
    seen, proven = look(seen, suspects, now=110, unbroken_since=unbroken)
    assert not proven
    assert not look(seen, SUSPECT, now=110.1, unbroken_since=0)[1]


def test_an_outage_in_between_starts_the_evidence_anew() -> None:
    seen, _ = look({}, SUSPECT, now=100, unbroken_since=0)
    seen, proven = look(seen, SUSPECT, now=100 + 2 * UNBROKEN_SECONDS, unbroken_since=101)
    assert not proven
    assert look(seen, SUSPECT, now=200, unbroken_since=101)[1] == {ID}


def test_heartbeats_must_have_been_accepted_for_longer_than_their_ttl() -> None:
    seen, _ = look({}, SUSPECT, now=100, unbroken_since=100)
    assert not look(seen, SUSPECT, now=100 + UNBROKEN_SECONDS - 0.1, unbroken_since=100)[1]
    assert look(seen, SUSPECT, now=100 + UNBROKEN_SECONDS, unbroken_since=100)[1] == {ID}
