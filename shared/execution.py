"""The state of one execution: a fold over its events. Pure; any prefix of a history folds.

What is not legal in a state changes nothing but `anomalies`, which readers alarm on: the guard of the log should
have made it impossible.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import assert_never

from shared import events as ev
from shared.usage import Kind, ModelUsage, Tier, Tokens, merge_usage, total_tokens
from shared.workflow import AnyNode, GroupNode, Limits, item_id


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"


ENDED = frozenset({Status.COMPLETED, Status.STOPPED, Status.FAILED})
OPEN = frozenset({Status.QUEUED, Status.RUNNING, Status.STOPPING})

LEGAL: Mapping[str, frozenset[Status]] = MappingProxyType(
    {
        "requeued": frozenset({Status.QUEUED, Status.RUNNING}),
        "started": frozenset({Status.QUEUED, Status.RUNNING}),
        "node_started": frozenset({Status.RUNNING}),
        "node_completed": frozenset({Status.RUNNING}),
        "released": frozenset({Status.RUNNING}),
        "stop_requested": OPEN,
        "completed": frozenset({Status.RUNNING}),
        "stopped": OPEN,
        "failed": OPEN,
        "pruned": ENDED,
    }
)
"""In which states each event may come; `requested` comes first and only there."""


class NodeStatus(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A node that was started at least once, or a part of one: an item, a round or a case."""

    id: str
    kind: str
    status: NodeStatus
    attempts: int
    model: str | None = None
    items: int | None = None
    """Of a for_each: the number of its items."""
    output: ev.TextRef | None = None
    structured: bool = False
    truncated: bool = False
    finish_reason: str | None = None
    usage: tuple[ModelUsage, ...] = ()
    """Of the call that completed it, or of the one that was open at the end."""
    spent: tuple[ModelUsage, ...] = ()
    """Of its calls before: failed, cut or corrected ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionState:
    """Everything that the history says. Times are the server's."""

    id: str
    status: Status
    user_id: str
    lane: str
    engine: ev.EngineRef
    kind: Kind
    tiers: Mapping[str, Tier]
    body: ev.RequestBody | ev.ArtifactRef
    limits: Limits
    trace: Mapping[str, str]
    requested_at: datetime
    last_seq: int
    last_at: datetime
    attempt: int = 0
    owner: str | None = None
    claimed_at: datetime | None = None
    started_at: datetime | None = None
    heard_at: datetime | None = None
    """When the present attempt last wrote something."""
    ran: timedelta = timedelta()
    """How long attempts that are over ran, up to the last that was heard of them."""
    losses: int = 0
    """How many attempts ended with the loss of their executor; a hand-back is no loss."""
    ended_at: datetime | None = None
    nodes: Mapping[str, NodeState] = field(default_factory=dict)
    spent: tuple[ModelUsage, ...] = ()
    """Usage that no node tells: of lost attempts and hand-backs."""
    stop: ev.StopInfo | None = None
    error: ev.ErrorInfo | None = None
    output: str | None = None
    partials: tuple[ev.Partial, ...] = ()
    end: ev.TerminalEvent | None = None
    end_seq: int | None = None
    pruned: bool = False
    anomalies: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def usage(self) -> tuple[ModelUsage, ...]:
        """What the whole execution has used so far; once ended, what its end says."""
        if self.end is not None:
            return self.end.summary.usage
        parts = [u for node in self.nodes.values() for u in (*node.usage, *node.spent)]
        return merge_usage([*parts, *self.spent])

    @property
    def tokens(self) -> Tokens:
        return total_tokens(part.tokens for part in self.usage)

    def run_time(self, now: datetime) -> timedelta:
        """How long it has run, if its owner has run it until `now`; the history does not tell when an owner died.

        Neither waiting for an executor counts, nor what former owners that died did after their last events.
        """
        return self.ran + (
            now - self.claimed_at if self.owner is not None and self.claimed_at else timedelta()
        )

    def completed(self, node_id: str) -> bool:
        node = self.nodes.get(node_id)
        return node is not None and node.status is NodeStatus.COMPLETED


def parts_of(state: ExecutionState, node: AnyNode) -> Iterator[str]:
    """Ids of the nodes that a group is made of, in order: all items of a for_each, of others those that have begun."""
    here = state.nodes.get(node.id)
    if here is None or not isinstance(node, GroupNode):
        return
    count = here.items if node.most is None else node.most
    for index in range(count or 0):
        key = item_id(node.id, index)
        if node.most is None or key in state.nodes:
            yield key


def fold(history: Iterable[ev.Recorded], state: ExecutionState | None = None) -> ExecutionState | None:
    """The state after `history`, continuing from `state`. None while there is no `requested`."""
    for recorded in history:
        state = apply(state, recorded)
    return state


def apply(state: ExecutionState | None, recorded: ev.Recorded) -> ExecutionState | None:
    """One step of the fold. An event at or before the state's sequence is a repeat and changes nothing."""
    event = recorded.event
    if state is None:
        return _requested(recorded, event) if isinstance(event, ev.ExecutionRequested) else None
    if recorded.seq <= state.last_seq:
        return state
    seen = replace(state, last_seq=recorded.seq, last_at=recorded.time)
    fault = _fault(state, event)
    if fault is not None:
        return replace(seen, anomalies=(*state.anomalies, f"{fault} at sequence {recorded.seq}"))
    return _advance(seen, event, recorded)


def _fault(state: ExecutionState, event: ev.AnyEvent) -> str | None:
    if state.status not in LEGAL.get(event.type, frozenset()):
        return f"{event.type} while {state.status}"
    match event:
        case ev.ExecutionStarted() if event.attempt != state.attempt + 1:
            return f"attempt {event.attempt} started after attempt {state.attempt}"
        case ev.NodeStarted() | ev.NodeCompleted() | ev.ExecutionReleased() if event.attempt != state.attempt:
            return f"{event.type} of attempt {event.attempt} during attempt {state.attempt}"
        case ev.NodeStarted() | ev.NodeCompleted() if state.completed(event.node):
            return f"{event.type} of the completed node {event.node}"
        case _:
            return None


def _requested(recorded: ev.Recorded, event: ev.ExecutionRequested) -> ExecutionState:
    return ExecutionState(
        id=recorded.execution_id,
        status=Status.QUEUED,
        user_id=event.user_id,
        lane=event.lane,
        engine=event.engine,
        kind=event.kind,
        tiers=event.tiers,
        body=event.body,
        limits=event.limits,
        trace=event.trace,
        requested_at=recorded.time,
        last_seq=recorded.seq,
        last_at=recorded.time,
    )


def _advance(state: ExecutionState, event: ev.AnyEvent, recorded: ev.Recorded) -> ExecutionState:
    match event:
        case ev.ExecutionRequeued():
            return replace(state, lane=event.lane)
        case ev.ExecutionStarted():
            return _started(state, event, recorded)
        case ev.NodeStarted():
            return replace(_node_started(state, event), heard_at=recorded.time)
        case ev.NodeCompleted():
            return replace(_node_completed(state, event), heard_at=recorded.time)
        case ev.ExecutionReleased():
            return replace(
                _interrupt(state),
                status=Status.QUEUED,
                owner=None,
                heard_at=None,
                ran=state.run_time(recorded.time),
                spent=merge_usage([*state.spent, *event.usage]),
            )
        case ev.StopRequested():
            return replace(state, status=Status.STOPPING, stop=_stop(state, event, recorded))
        case ev.ExecutionCompleted() | ev.ExecutionStopped() | ev.ExecutionFailed():
            return _ended(state, event, recorded)
        case ev.ExecutionPruned():
            return replace(state, pruned=True)
        case ev.ExecutionRequested():
            return state
        case _:
            assert_never(event)


def _started(state: ExecutionState, event: ev.ExecutionStarted, recorded: ev.Recorded) -> ExecutionState:
    return replace(
        _interrupt(state),
        status=Status.RUNNING,
        attempt=event.attempt,
        owner=event.instance,
        claimed_at=recorded.time,
        heard_at=recorded.time,
        ran=state.run_time(state.heard_at or recorded.time),
        losses=state.losses + (state.owner is not None),
        started_at=state.started_at or recorded.time,
        spent=merge_usage([*state.spent, *event.lost]),
    )


def _interrupt(state: ExecutionState) -> ExecutionState:
    """Nodes that were running are not any more: their attempt is over."""
    nodes = {
        key: replace(node, status=NodeStatus.INTERRUPTED) if node.status is NodeStatus.RUNNING else node
        for key, node in state.nodes.items()
    }
    return replace(state, nodes=nodes)


def _node_started(state: ExecutionState, event: ev.NodeStarted) -> ExecutionState:
    before = state.nodes.get(event.node)
    node = NodeState(
        id=event.node,
        kind=event.kind,
        status=NodeStatus.RUNNING,
        attempts=event.node_attempt,
        model=event.model,
        items=event.items,
        spent=merge_usage([*(before.spent if before else ()), *event.lost]),
    )
    return replace(state, nodes={**state.nodes, event.node: node})


def _node_completed(state: ExecutionState, event: ev.NodeCompleted) -> ExecutionState:
    before = state.nodes.get(event.node)
    node = NodeState(
        id=event.node,
        kind=event.kind,
        status=NodeStatus.COMPLETED,
        attempts=event.node_attempt,
        model=event.usage[0].model if event.usage else (before.model if before else None),
        items=before.items if before else None,
        output=event.output,
        structured=event.structured,
        truncated=event.truncated,
        finish_reason=event.finish_reason,
        usage=event.usage,
        spent=before.spent if before else (),
    )
    return replace(state, nodes={**state.nodes, event.node: node})


def _stop(state: ExecutionState, event: ev.StopRequested, recorded: ev.Recorded) -> ev.StopInfo:
    """The first one counts; a later one can only add force."""
    if state.stop is None:
        return ev.StopInfo(by=event.by, reason=event.reason, force=event.force, at=recorded.time)
    return state.stop.model_copy(update={"force": state.stop.force or event.force})


def _with_partials(state: ExecutionState, partials: tuple[ev.Partial, ...]) -> ExecutionState:
    """Each interrupted node shows what it had used."""
    nodes = dict(state.nodes)
    for partial in partials:
        if partial.node in nodes:
            nodes[partial.node] = replace(nodes[partial.node], usage=partial.usage)
    return replace(state, nodes=nodes, partials=partials)


def _ended(state: ExecutionState, event: ev.TerminalEvent, recorded: ev.Recorded) -> ExecutionState:
    ended = replace(
        _interrupt(state),
        status=Status(event.type),
        owner=None,
        ended_at=recorded.time,
        end=event,
        end_seq=recorded.seq,
    )
    match event:
        case ev.ExecutionCompleted():
            return replace(ended, output=event.output)
        case ev.ExecutionStopped():
            return replace(_with_partials(ended, event.partials), stop=event.stop)
        case ev.ExecutionFailed():
            return replace(_with_partials(ended, event.partials), error=event.error)
        case _:
            assert_never(event)
