"""Every model call against the log: none without its `node_started`, none for what was over.

One window is open by design: between the acknowledged `node_started` and the first byte to the provider. A stop, an
end or a takeover may come in between, and a process that is frozen there may stretch it. So a call counts as begun
when its `node_started` was stored; each names at most one call.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence

from shared import events as ev
from tests.support.chaos.evidence import Call, Evidence, unix
from tests.support.chaos.log_checks import story

IN_FLIGHT_SECONDS = 1.0
"""How long the window may be in a process that nobody has frozen; two cores are shared by a dozen of them."""


def call_faults(evidence: Evidence, late: list[float]) -> Iterator[str]:
    """`late` gets, for every call begun after its execution's end or its node's, by how many seconds."""
    for key, history in evidence.histories.items():
        calls: dict[str, list[Call]] = defaultdict(list)
        for call in evidence.calls_of(key):
            calls[call.node].append(call)
        for node, made in calls.items():
            for fault in _of_node(evidence, history, node, sorted(made, key=lambda call: call.begun), late):
                yield f"{key} {node}: {fault} ({story(history)})"


def _of_node(
    evidence: Evidence, history: Sequence[ev.Recorded], node: str, calls: Sequence[Call], late: list[float]
) -> Iterator[str]:
    starts = [r for r in history if isinstance(r.event, ev.NodeStarted) and r.event.node == node]
    times = [unix(start.time) for start in starts]
    over = min(
        unix(r.time)
        for r in history
        if r.event.type in ev.TERMINAL_TYPES
        or (isinstance(r.event, ev.NodeCompleted) and r.event.node == node)
    )
    for number, call in enumerate(calls, start=1):
        named = bisect_right(times, call.begun + 0.001)
        if named < number:
            yield f"call {number} at {call.begun:.3f} has no node_started of its own"
        elif call.begun > over:
            late.append(call.begun - over)
            start = starts[named - 1]
            if call.begun - over > IN_FLIGHT_SECONDS and not _was_frozen(evidence, history, start, call):
                yield f"call {number} began {call.begun - over:.3f} s after it was over"


def _was_frozen(evidence: Evidence, history: Sequence[ev.Recorded], start: ev.Recorded, call: Call) -> bool:
    """Whether the process that appended `start` was frozen, or cut off, between it and the call."""
    claim = [r for r in history if isinstance(r.event, ev.ExecutionStarted) and r.seq < start.seq][-1]
    assert isinstance(claim.event, ev.ExecutionStarted)
    life = evidence.lives.get(claim.event.instance)
    if life is None:
        return False
    # What was stored may be acknowledged only when the link is open again.
    spans = [*life.frozen, *evidence.held.get(life.member, ()), *evidence.outages]
    return any(began <= call.begun and ended >= unix(start.time) for began, ended in spans)
