"""What is to be done about an execution, and why. Pure: facts in, a decision with its reason out.

Marks must be older than the history that is judged with them: what is acknowledged because it ended has its
end in a history that is read later.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared import events as ev
from shared.execution import ExecutionState, Status, fold

LOST = "neither an executor nor a lane has it any more"
"""The reason in `requeued`; how often it was given since the last start tells when to give up."""
SNAPSHOT_AGE = timedelta(seconds=2)
"""A heartbeat may be that much older than the time at which it was stored."""


class Action(StrEnum):
    NOTHING = "nothing"
    PRUNE = "prune"
    STOP = "stopped"
    """Append the end of a stop that its owner can not append."""
    FAIL = "failed"
    REQUEUE = "requeued"
    ASK_STOP = "stop_requested"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    retention: timedelta
    stop_grace: timedelta = timedelta(seconds=15)
    """An owner that lives ends a stop within milliseconds."""
    overdue_grace: timedelta = timedelta(seconds=60)
    """Beyond `limits.seconds`, which the executor itself should have kept."""
    requeues: int = 3
    """After so many without a start the execution is failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """How far the readers of the log are; sequences of the stream EXECUTIONS."""

    now: datetime
    """The server's."""
    counted: int
    """Analytics has acknowledged everything up to here."""
    projected: int | None
    """The read model holds everything up to here; None when no projector has ever run."""
    lanes: Mapping[str, int]
    """For each lane, up to where all requests are acknowledged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """The last heartbeat of an instance: the time at which it was stored, and what it runs."""

    at: datetime
    executions: frozenset[str]


Fleet = Mapping[str, Worker]


@dataclass(frozen=True, slots=True)
class Decision:
    action: Action
    reason: str


def nothing(reason: str) -> Decision:
    return Decision(Action.NOTHING, reason)


def judge_ended(
    kept: bool,
    history: Sequence[ev.Recorded],
    marks: Marks,
    limits: Limits,
    *,
    erased_user: str | None = None,
) -> Decision:
    """Whether an execution whose row says that it ended may be deleted.

    That of `erased_user`, whose data is to go, neither its age nor a wish to keep it holds.
    """
    if kept and erased_user is None:
        return nothing("its owner keeps it")
    if any(isinstance(recorded.event, ev.ExecutionPruned) for recorded in history):
        return nothing("it is pruned already")
    state = fold(history)
    if state is None:
        return nothing("the log holds no request of it")
    if state.ended_at is None or state.end_seq is None:
        return nothing(f"the log says that it is {state.status}")
    age = marks.now - state.ended_at
    if erased_user not in (None, state.user_id):
        return nothing("the log says that it is not of the person whose data is to go")
    if erased_user is None and age < limits.retention:
        return nothing(f"it ended {_span(age)} ago, and is kept for {_span(limits.retention)}")
    if state.end_seq > marks.counted:
        return nothing(f"analytics has counted up to {marks.counted}, its end is {state.end_seq}")
    if marks.projected is None or state.last_seq > marks.projected:
        return nothing(f"the read model is at {marks.projected}, its last event is {state.last_seq}")
    why = "nobody keeps it" if erased_user is None else "its owner's data is to go"
    return Decision(Action.PRUNE, f"it ended {state.status} {_span(age)} ago, is counted, and {why}")


def judge_open(history: Sequence[ev.Recorded], fleet: Fleet, marks: Marks, limits: Limits) -> Decision:
    """Whether an execution whose row says that it is open needs somebody to act, who is not there."""
    state = fold(history)
    if state is None or state.ended:
        return nothing("the log says that it has ended" if state else "the log holds no request of it")
    if state.status is Status.STOPPING:
        return _judge_stopping(state, fleet, marks, limits)
    carrier = _carrier(state, fleet)
    if carrier is not None:
        return _judge_carried(state, carrier, marks, limits)
    for recorded in _requests(history):
        if recorded.seq > marks.lanes.get(recorded.event.lane, 0):
            return nothing(f"lane {recorded.event.lane} still holds its request {recorded.seq}")
    if _times_lost(history) >= limits.requeues:
        return Decision(Action.FAIL, f"it was queued again {limits.requeues} times and never started")
    return Decision(Action.REQUEUE, f"{LOST} ({_owner(state)})")


def _judge_carried(state: ExecutionState, carrier: str, marks: Marks, limits: Limits) -> Decision:
    """Only what somebody runs can be overdue: what waits for an executor, as its owner died, uses up no time."""
    if state.status is Status.RUNNING and overdue_at(state, marks.now, limits) <= marks.now:
        return Decision(
            Action.ASK_STOP, f"it has run longer than its limit of {state.limits.seconds} s allows"
        )
    return nothing(carrier)


def _judge_stopping(state: ExecutionState, fleet: Fleet, marks: Marks, limits: Limits) -> Decision:
    assert state.stop is not None
    waited = marks.now - state.stop.at
    if waited <= limits.stop_grace:
        return nothing(f"its stop was asked {_span(waited)} ago")
    carrier = _carrier(state, fleet)
    if carrier is not None:
        return nothing(carrier)
    return Decision(Action.STOP, f"its stop was asked {_span(waited)} ago and {_owner(state)}")


def _carrier(state: ExecutionState, fleet: Fleet) -> str | None:
    """Who may still be running it; None when nobody is."""
    for instance, worker in fleet.items():
        if state.id in worker.executions:
            return f"worker {instance} runs it"
    if state.owner is None or state.claimed_at is None:
        return None
    owner = fleet.get(state.owner)
    if owner is not None and owner.at <= state.claimed_at + SNAPSHOT_AGE:
        return f"its owner {state.owner} lives and has not said yet what it runs"
    return None


def _owner(state: ExecutionState) -> str:
    return "nobody owns it" if state.owner is None else f"its owner {state.owner} does not run it any more"


@dataclass(frozen=True, slots=True)
class _Request:
    seq: int
    event: ev.ExecutionRequested | ev.ExecutionRequeued


def _requests(history: Iterable[ev.Recorded]) -> Iterable[_Request]:
    for recorded in history:
        if isinstance(recorded.event, ev.ExecutionRequested | ev.ExecutionRequeued):
            yield _Request(recorded.seq, recorded.event)


def _times_lost(history: Iterable[ev.Recorded]) -> int:
    times = 0
    for recorded in history:
        match recorded.event:
            case ev.ExecutionStarted():
                times = 0
            case ev.ExecutionRequeued(reason=reason) if reason == LOST:
                times += 1
            case _:
                pass
    return times


def overdue_at(state: ExecutionState, now: datetime, limits: Limits) -> datetime:
    """When it will have run for its limit and the grace, if its owner has run it all the time and goes on."""
    left = timedelta(seconds=state.limits.seconds) + limits.overdue_grace - state.run_time(now)
    return now + left


def artifacts_of(history: Iterable[ev.Recorded]) -> list[ev.ArtifactRef]:
    """Every artifact that these events refer to."""
    found: list[ev.ArtifactRef | None] = []
    for recorded in history:
        match recorded.event:
            case ev.ExecutionRequested(body=ev.ArtifactRef() as body):
                found.append(body)
            case ev.NodeCompleted(output=output):
                found.append(output.ref)
            case ev.ExecutionStopped(partials=partials) | ev.ExecutionFailed(partials=partials):
                found.extend(partial.output.ref for partial in partials)
            case _:
                pass
    return [ref for ref in found if ref is not None]


def orphans(artifacts: Iterable[str], history: Sequence[ev.Recorded]) -> list[str]:
    """Which of these artifacts of one execution, put long ago, will never be named by an event."""
    state = fold(history)
    if state is not None and not state.ended:
        return []
    named = {ref.artifact for ref in artifacts_of(history)}
    return [artifact for artifact in artifacts if artifact not in named]


def tombstone(state: ExecutionState) -> ev.ExecutionPruned:
    """What is left of an ended execution."""
    assert state.ended_at is not None
    return ev.ExecutionPruned(
        user_id=state.user_id, ended=state.status.value, ended_at=state.ended_at, usage=state.usage
    )


def _span(time: timedelta) -> str:
    """As people say it: `25.0 h`, `40 s`."""
    seconds = time.total_seconds()
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 300 else f"{seconds:.0f} s"
