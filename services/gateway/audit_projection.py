"""Which events of the log are acts upon somebody else's execution. Pure.

Stops work while Postgres is away, so their audit is read from the log, by the projector, with the rows.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.gateway.projection import Row, advance
from shared import events as ev
from shared.ids import is_id

_FROM_THE_LOG = uuid.UUID("5f0f5f3e-6a55-5d4b-8f0e-3c6f8a9a7d21")
"""The name space of ids that are made from events: the same event again is the same row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act of a person. `details` never hold secrets, nor what users have written."""

    id: str
    at: datetime
    actor: str
    action: str
    target: str
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def stops_of_others(events: Iterable[ev.Recorded], rows: Mapping[str, Row]) -> tuple[Act, ...]:
    """The acts among `events`, in the order of the log; `rows` are those that were there before.

    A stop that was asked for and then carried out is one act: its request.
    """
    events = list(events)
    touched = {each.execution_id for each in events if _by(each.event) is not None}
    return tuple(_acts((each for each in events if each.execution_id in touched), rows)) if touched else ()


def _acts(events: Iterable[ev.Recorded], rows: Mapping[str, Row]) -> Iterator[Act]:
    found: dict[str, Row | None] = dict(rows)
    for recorded in events:
        before = found.get(recorded.execution_id)
        after = found[recorded.execution_id] = advance(before, recorded)
        act = None if before is None or after is None else _act(before, after, recorded)
        if act is not None:
            yield act


def _act(before: Row, after: Row, recorded: ev.Recorded) -> Act | None:
    by = _by(recorded.event)
    changed = (before.status, before.stop) != (after.status, after.stop)
    carried_out = isinstance(recorded.event, ev.ExecutionStopped) and before.stop is not None
    # What a limit or the janitor ends is by `system`, which is nobody's act upon anybody.
    if by is None or by == before.user_id or not is_id(by) or not changed or carried_out:
        return None
    force, reason = _how(recorded.event)
    return Act(
        id=str(uuid.uuid5(_FROM_THE_LOG, recorded.message_id or f"{recorded.execution_id} {recorded.seq}")),
        at=recorded.time,
        actor=by,
        action="executions.force_stop" if force else "executions.stop",
        target=recorded.execution_id,
        reason=reason.replace("\0", "") if reason else None,
        details={"user_id": before.user_id, "engine_id": before.engine_id, "status": before.status.value},
    )


def _by(event: ev.AnyEvent) -> str | None:
    match event:
        case ev.StopRequested(by=by):
            return by
        case ev.ExecutionStopped(stop=stop):
            return stop.by
        case _:
            return None


def _how(event: ev.AnyEvent) -> tuple[bool, str | None]:
    match event:
        case ev.StopRequested(force=force, reason=reason):
            return force, reason
        case ev.ExecutionStopped(stop=stop):
            return stop.force, stop.reason
        case _:
            return False, None
