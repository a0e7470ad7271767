"""The read model of lists: how events change the row of an execution. Pure.

The rules are those of `shared.execution`, without nodes: what is not legal in a state changes nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from services.gateway.resource import stop_json
from shared import events as ev
from shared.execution import ENDED, LEGAL, Status
from shared.usage import Certainty, Kind, Tokens, total_tokens

NODE_TYPES = frozenset({"node_started", "node_completed"})
"""Events that no row shows: they need not even be decoded."""

TITLE = 120
"""Characters of a title at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of `executions`, but for `kept`, which belongs to the user. `stop` and `error` are JSON."""

    id: str
    user_id: str
    engine_id: str
    engine_name: str
    engine_version: int
    status: Status
    kind: str
    lane: str | None
    title: str | None = None
    """What it is about, if the request says so itself."""
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempt: int = 0
    worker: str | None = None
    stop: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    thoughts_tokens: int = 0
    tool_tokens: int = 0
    certainty: Certainty = Certainty.MEASURED
    """`unknown` while it runs and may call models: the counts come with the end."""
    last_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a batch makes of the rows. No execution is in both."""

    rows: tuple[Row, ...] = ()
    """As they are afterwards."""
    pruned: tuple[str, ...] = ()
    """Ids whose rows go."""
    faults: tuple[str, ...] = ()
    """Events that were not legal, for a person to look at."""


def project(events: Iterable[ev.Recorded], rows: Mapping[str, Row]) -> Changes:
    """The changes by `events`, in the order of the log, to `rows`: those that exist of the executions in it.

    Repeated events change nothing as long as the row is there.
    """
    found: dict[str, Row | None] = {}
    faults: list[str] = []
    for recorded in events:
        execution_id = recorded.execution_id
        row = found[execution_id] if execution_id in found else rows.get(execution_id)
        if row is not None and recorded.seq > row.last_seq and not _legal(row, recorded.event):
            faults.append(
                f"{recorded.event.type} of {execution_id} while {row.status} at sequence {recorded.seq}"
            )
        found[execution_id] = advance(row, recorded)
    return Changes(
        rows=tuple(row for key, row in found.items() if row is not None and row is not rows.get(key)),
        pruned=tuple(key for key, row in found.items() if row is None and key in rows),
        faults=tuple(faults),
    )


def advance(row: Row | None, recorded: ev.Recorded) -> Row | None:
    """The row after one more event; None when there is none, or none any more."""
    event = recorded.event
    if row is None:
        return _requested(recorded, event) if isinstance(event, ev.ExecutionRequested) else None
    if recorded.seq <= row.last_seq or event.type in NODE_TYPES:
        return row
    seen = replace(row, last_seq=recorded.seq)
    if not _legal(row, event):
        return seen
    match event:
        case ev.ExecutionRequeued():
            return replace(seen, lane=event.lane)
        case ev.ExecutionStarted():
            return _started(seen, event, recorded.time)
        case ev.ExecutionReleased():
            return replace(seen, status=Status.QUEUED, worker=None)
        case ev.StopRequested():
            return replace(seen, status=Status.STOPPING, stop=_stop(row, event, recorded.time))
        case ev.ExecutionCompleted() | ev.ExecutionStopped() | ev.ExecutionFailed():
            return _ended(seen, event, recorded.time)
        case ev.ExecutionPruned():
            return None
        case _:
            return seen


def _legal(row: Row, event: ev.AnyEvent) -> bool:
    if event.type in NODE_TYPES:
        return row.status not in ENDED
    if row.status not in LEGAL.get(event.type, frozenset()):
        return False
    match event:
        case ev.ExecutionStarted():
            return event.attempt == row.attempt + 1
        case ev.ExecutionReleased():
            return event.attempt == row.attempt
        case _:
            return True


def _requested(recorded: ev.Recorded, event: ev.ExecutionRequested) -> Row:
    return Row(
        id=recorded.execution_id,
        user_id=event.user_id,
        engine_id=event.engine.id,
        engine_name=event.engine.name,
        engine_version=event.engine.version,
        status=Status.QUEUED,
        kind=event.kind.value,
        lane=event.lane,
        title=_title(event.body),
        created_at=recorded.time,
        last_seq=recorded.seq,
    )


def _title(body: ev.RequestBody | ev.ArtifactRef) -> str | None:
    """The longest text among the inputs, on one line and cut. A body that lies elsewhere is not fetched for it."""
    if isinstance(body, ev.ArtifactRef):
        return None
    texts = [value for value in body.input.values() if isinstance(value, str)]
    line = " ".join(max(texts, key=len, default="").split())
    return line[:TITLE] or None


def _started(row: Row, event: ev.ExecutionStarted, time: datetime) -> Row:
    return replace(
        row,
        status=Status.RUNNING,
        attempt=event.attempt,
        worker=event.instance,
        started_at=row.started_at or time,
        certainty=Certainty.MEASURED if row.kind == Kind.NONE else Certainty.UNKNOWN,
    )


def _stop(row: Row, event: ev.StopRequested, time: datetime) -> Mapping[str, Any] | None:
    """The first one counts; a later one can only add force."""
    if row.stop is None:
        return stop_json(ev.StopInfo(by=event.by, reason=event.reason, force=event.force, at=time))
    return {**row.stop, "force": row.stop["force"] or event.force}


def _ended(row: Row, event: ev.TerminalEvent, time: datetime) -> Row:
    ended = replace(row, status=Status(event.type), ended_at=time, worker=None, **_counts(event.summary))
    match event:
        case ev.ExecutionStopped():
            return replace(ended, stop=stop_json(event.stop))
        case ev.ExecutionFailed():
            return replace(ended, error=event.error.model_dump())
        case _:
            return ended


def _counts(summary: ev.Summary) -> dict[str, Any]:
    tokens: Tokens = total_tokens(part.tokens for part in summary.usage)
    return {
        "input_tokens": tokens.input,
        "cached_tokens": tokens.cached,
        "output_tokens": tokens.output,
        "thoughts_tokens": tokens.thoughts,
        "tool_tokens": tokens.tool,
        "certainty": tokens.certainty,
    }
