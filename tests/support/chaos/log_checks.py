"""What must hold in the log, and between the log and the answers that people got. Every function lists what does not."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from shared import events as ev
from shared.execution import fold
from tests.support.chaos.evidence import Evidence
from tests.support.chaos.plan import Request


def log_faults(evidence: Evidence) -> Iterator[str]:
    for key, history in evidence.histories.items():
        for fault in history_faults(history):
            yield f"{key}: {fault} ({story(history)})"


def history_faults(history: Sequence[ev.Recorded]) -> Iterator[str]:
    before = 0
    for recorded in history:
        if recorded.after != before:
            yield f"the guard of {recorded.seq} names {recorded.after}, the event before is {before}"
        before = recorded.seq
    ends = [n for n, recorded in enumerate(history) if recorded.event.type in ev.TERMINAL_TYPES]
    if len(ends) != 1:
        yield f"{len(ends)} ends"
    elif any(recorded.event.type != "pruned" for recorded in history[ends[0] + 1 :]):
        yield "events after its end"
    state = fold(history)
    if state is None:
        yield "it has no request"
    elif state.anomalies:
        yield f"anomalies: {state.anomalies}"
    yield from _run_again(history)


def _run_again(history: Sequence[ev.Recorded]) -> Iterator[str]:
    done = set()
    for recorded in history:
        event = recorded.event
        if isinstance(event, ev.NodeStarted | ev.NodeCompleted) and event.node in done:
            yield f"{event.type} of the completed node {event.node}"
        if isinstance(event, ev.NodeCompleted):
            done.add(event.node)


def request_faults(evidence: Evidence) -> Iterator[str]:
    """Accepted requests exist exactly once, unanswered ones at most once, and nothing else exists."""
    found: dict[str, list[str]] = defaultdict(list)
    for key, mark in evidence.marks.items():
        found[mark].append(key)
    for mark in found.keys() - evidence.asked.keys():
        yield f"{mark}: nobody asked for it"
    for mark, asked in evidence.asked.items():
        if len(asked.ids) > 1:
            yield f"{mark}: one key gave {asked.ids}"
        if len(found[mark]) > 1:
            yield f"{mark}: it exists {len(found[mark])} times"
        if asked.ids and set(found[mark]) != asked.ids:
            yield f"{mark}: it was accepted as {asked.ids}, the log has {found[mark]}"


def stop_faults(evidence: Evidence) -> Iterator[str]:
    """What was accepted for stopping is stopped; or failed, if that came between."""
    for mark, asked in evidence.asked.items():
        state = evidence.states.get(asked.execution_id or "")
        if state is None:
            continue
        for code, status in asked.stop_answers:
            if code == 202 and state.status.value not in ("stopped", "failed"):
                yield f"{mark} ({state.id}): its stop was accepted, and it ended {state.status}"
            if code == 200 and status not in ("completed", "stopped", "failed"):
                yield f"{mark} ({state.id}): a stop was answered 200 with {status}"


_TRANSIENT = {
    "fault=cut": "provider_unreachable",
    "fault=reset": "provider_unreachable",
    "fault=status_503": "overloaded",
    "fault=status_429": "quota",
    "fault=error_in_stream": "overloaded",
}
"""With what an execution fails that has no time to repeat the call."""


def _refusals(request: Request) -> Iterator[str]:
    """The codes that it may fail with."""
    if "fault=safety" in request.options:
        yield "answer_blocked"
    for fault, code in _TRANSIENT.items():
        if fault in request.options and "seconds" in request.limits:
            yield code  # the wait before another try would pass the limit


def failure_faults(evidence: Evidence) -> Iterator[str]:
    """Nothing fails but what its provider refuses, for good or until the time is up; whatever dies, the work goes on."""
    for key, state in evidence.states.items():
        asked = evidence.asked.get(evidence.marks[key])
        if state.error is not None and (asked is None or state.error.code not in _refusals(asked.request)):
            yield f"{key}: failed with {state.error.code}: {state.error.message} ({story(evidence.histories[key])})"


def row_faults(evidence: Evidence) -> Iterator[str]:
    """The read model says what the fold says; what is pruned has no row."""
    for key, state in evidence.states.items():
        row = evidence.rows.get(key)
        if state.pruned or row is None:
            if not state.pruned:
                yield f"{key}: the read model has no row"
            elif row is not None:
                yield f"{key}: the read model still has the row of what was pruned"
            continue
        total = state.tokens
        told = {
            "status": state.status.value,
            "user_id": state.user_id,
            "engine_id": state.engine.id,
            "attempt": state.attempt,
            "last_seq": state.last_seq,
            "ended_at": state.ended_at,
            "started_at": state.started_at,
            "certainty": total.certainty.value,
            **{
                f"{kind}_tokens": getattr(total, kind)
                for kind in ("input", "cached", "output", "thoughts", "tool")
            },
        }
        for name, value in told.items():
            shown = str(row[name]) if name.endswith("_id") else row[name]
            if shown != value:
                yield f"{key}: the read model says {name} = {shown}, the log {value}"


def story(history: Sequence[ev.Recorded]) -> str:
    """A history in one line."""
    begun = history[0].time
    parts = []
    for recorded in history:
        event = recorded.event
        detail = getattr(event, "node", None) or str(getattr(event, "instance", ""))[-4:]
        parts.append(f"{(recorded.time - begun).total_seconds():.2f}s {event.type} {detail}".strip())
    return "; ".join(parts)
