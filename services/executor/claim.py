"""What to do with a message that brings an execution: decided from its history and the evidence. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.execution import ExecutionState, Status

SNAPSHOT_AGE = timedelta(seconds=2)
"""An entry may have been made up so long before it was stored, and not list what was claimed meanwhile."""

POISON_DELIVERIES = 50
"""What was handed out so often and never began brings every executor down that takes it, or worse."""


class Decision(StrEnum):
    CLAIM = "claim"
    """Nobody owns it: append `started`."""
    TAKE_OVER = "take_over"
    """Its owner is gone: append `started` with what the dead attempt had used."""
    END_STOPPED = "end_stopped"
    """A stop waits and nobody is there to obey: end it without calling a model."""
    FAIL = "fail"
    """Too many executors were lost over it, or none could ever begin it."""
    DONE = "done"
    """It has ended: acknowledge."""
    OURS = "ours"
    """We run it already: only the message is newer."""
    LATER = "later"
    """Somebody else owns it, or may: give the message back with a delay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the judge knows about the owner.

    `heartbeats_unbroken` is for how many seconds heartbeats, the judge's own or another's that it has watched, were
    accepted without a gap: only then is the owner's missing entry its own fault and not that of an outage.
    `owner_since` is when the owner's entry was put; None when there is none.
    """

    heartbeats_unbroken: float | None
    owner_since: datetime | None
    owner_lists_it: bool


def decide(
    state: ExecutionState,
    instance: str,
    running_here: bool,
    evidence: Evidence | None,
    *,
    ttl: float,
    max_losses: int,
    deliveries: int,
) -> Decision:
    """`ttl`: seconds after which a heartbeat's entry expires. `evidence` is None while it was not asked for.

    `deliveries` counts how often its message was handed to an executor; `max_losses`, how many executors may be lost.
    """
    if state.ended:
        return Decision.DONE
    if running_here:
        return Decision.OURS
    if state.owner is not None and not _owner_gone(state, instance, evidence, ttl):
        return Decision.LATER
    if state.status is Status.STOPPING:
        return Decision.END_STOPPED
    if losses(state) >= max_losses or (state.attempt == 0 and deliveries >= POISON_DELIVERIES):
        return Decision.FAIL
    return Decision.CLAIM if state.owner is None else Decision.TAKE_OVER


def enough(ttl: float) -> float:
    """For how many seconds heartbeats must have been accepted: by then whoever lives has been heard again."""
    return ttl + 2


def losses(state: ExecutionState) -> int:
    """How many executors were lost over it, when its present owner is gone."""
    return state.losses + (state.owner is not None)


def _owner_gone(state: ExecutionState, instance: str, evidence: Evidence | None, ttl: float) -> bool:
    if state.owner == instance:
        return True  # a claim of ours that we dropped: nobody else can be running it
    if evidence is None or evidence.heartbeats_unbroken is None or evidence.heartbeats_unbroken < enough(ttl):
        return False
    if evidence.owner_since is None:
        return True
    newer = state.claimed_at is not None and evidence.owner_since > state.claimed_at + SNAPSHOT_AGE
    return newer and not evidence.owner_lists_it
