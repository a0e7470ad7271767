"""What a viewer of one execution is sent: from log events and pieces of text to server-sent events. Pure.

A text is sent contiguously for each (node, attempt), so what a viewer puts together is the node's final text, whatever
was lost, repeated or reordered on the way. Each event's id tells completely what the viewer has after it, so that any
gateway can go on from there.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self

from services.gateway.outstanding import Place
from services.gateway.resource import (
    execution_json,
    node_json,
    nodes_of,
    progress_json,
    text_length,
    tokens_json,
    url_of,
)
from shared import events as ev
from shared.deltas import Delta
from shared.execution import ExecutionState, NodeStatus, Status, apply, fold
from shared.usage import ModelUsage, Tokens, total_tokens
from shared.workflow import AnyNode, parent_of

PIECE = 16 * 1024
"""Characters of one `delta` at most."""
AHEAD = 256
"""Pieces beyond a gap that are kept for one node."""

_ENTRY = r"[a-z][a-z0-9_]{0,63}(?:/[0-9]{1,9})?:[0-9]{1,9}:[0-9]{1,12}"
_CURSOR = re.compile(rf"([0-9]{{1,18}})(?:;({_ENTRY}(?:,{_ENTRY})*))?")


@dataclass(frozen=True, slots=True)
class Sent:
    """What a viewer has of a node: the first `offset` characters of this start of it."""

    attempt: int
    offset: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a viewer has: the texts of all nodes completed up to sequence `seq`, and beginnings of others."""

    seq: int = 0
    texts: Mapping[str, Sent] = field(default_factory=dict)

    def __str__(self) -> str:
        entries = ",".join(f"{node}:{sent.attempt}:{sent.offset}" for node, sent in self.texts.items())
        return f"{self.seq};{entries}" if entries else str(self.seq)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """None for what was never given out by `str`."""
        match = _CURSOR.fullmatch(text)
        if match is None:
            return None
        entries = (entry.rsplit(":", 2) for entry in (match[2] or "").split(",") if entry)
        return cls(
            int(match[1]), {node: Sent(int(attempt), int(offset)) for node, attempt, offset in entries}
        )


@dataclass(frozen=True, slots=True)
class ServerEvent:
    event: str
    id: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A text that must be at hand to take an event in, because the viewer has not all of it."""

    node: str
    attempt: int
    text: ev.TextRef


class LiveView:
    """One viewer of one execution.

    `open` with the whole history; then `wanted` and `take` for each of its events, and for each that follows; `piece`
    for each delta after the history. It may be given anything twice. When `ended`, everything was said.
    """

    def __init__(self, body: ev.RequestBody, retention: timedelta, cursor: Cursor | None = None) -> None:
        self._body = body
        self._nodes = {node.id: node for node in body.workflow.nodes}
        self._retention = retention
        self._seq = cursor.seq if cursor else 0
        self._texts = dict(cursor.texts) if cursor else {}
        self._ahead: dict[str, dict[int, Delta]] = {}
        self._tokens = Tokens()
        self.state: ExecutionState | None = None
        self.place: Place | None = None
        """Where it stands while it is queued; whoever feeds the view keeps it new."""
        self.ended = False

    @property
    def has_gap(self) -> bool:
        """Whether pieces wait for others that may have been lost."""
        return bool(self._ahead)

    @property
    def queued(self) -> bool:
        return self.opened.status is Status.QUEUED

    @property
    def opened(self) -> ExecutionState:
        if self.state is None:
            raise ValueError("the history has not been taken in")
        return self.state

    def open(self, history: Sequence[ev.Recorded]) -> ServerEvent:
        """The snapshot. What the cursor says is dropped where it can not be of this history."""
        self.state = state = fold(history)
        if state is None:
            raise ValueError("a history begins with its request")
        if self._seq > state.last_seq:
            self._seq, self._texts = 0, {}
        self._tokens = state.tokens
        self._texts = {key: sent for key, sent in self._texts.items() if parent_of(key) in self._nodes}
        return self._event("snapshot", execution_json(state, self._body, self._retention, self.place))

    def placed(self, place: Place | None) -> Iterator[ServerEvent]:
        """What to send when a queued one may stand elsewhere by now."""
        before = self._progress(self.opened, self._tokens)
        self.place = place
        progress = self._progress(self.opened, self._tokens)
        if progress != before:
            yield self._event("state", {"id": self.opened.id, **progress})

    def _progress(self, state: ExecutionState, tokens: Tokens) -> dict[str, Any]:
        return progress_json(state, self._retention, tokens, self.place)

    def wanted(self, recorded: ev.Recorded) -> Sequence[Wanted]:
        """The texts that `take` needs for this event."""
        after = apply(self.opened, recorded)
        if after is None or recorded.seq <= self._seq:
            return []
        return [wanted for wanted in _texts_of(recorded, after) if self._missing(wanted)]

    def take(self, recorded: ev.Recorded, texts: Mapping[str, str]) -> Iterator[ServerEvent]:
        """What to send for an event of the log. `texts` holds the wanted ones by node."""
        wanted = self.wanted(recorded)
        before, after = self.opened, apply(self.opened, recorded)
        self.state = after
        for want in wanted:
            yield from self._rest(want, texts[want.node])
        yield from self._forget(recorded.event)
        self._seq = max(self._seq, recorded.seq)
        if after is not None and after is not before:
            yield from self._changes(before, after, recorded.event)
        if after is not None and after.end_seq == recorded.seq:
            yield self._end(after)

    def _missing(self, wanted: Wanted) -> bool:
        sent = self._texts.get(wanted.node)
        have = sent.offset if sent and sent.attempt == wanted.attempt else 0
        return have < text_length(wanted.text)

    def _rest(self, wanted: Wanted, text: str) -> Iterator[ServerEvent]:
        sent = self._texts.get(wanted.node)
        start = sent.offset if sent and sent.attempt == wanted.attempt else 0
        for offset in range(start, len(text), PIECE):
            yield self._delta(wanted.node, wanted.attempt, offset, text[offset : offset + PIECE])

    def _forget(self, event: ev.AnyEvent) -> Iterator[ServerEvent]:
        """Drops what needs no entry in the cursor any more: of completed nodes, older starts, and ended executions.

        Who has text of an older start is told at once that it counts no more.
        """
        match event:
            case ev.NodeCompleted():
                self._texts.pop(event.node, None)
                self._ahead.pop(event.node, None)
            case ev.NodeStarted():
                sent = self._texts.get(event.node)
                if sent is not None and sent.attempt < event.node_attempt:
                    self._ahead.pop(event.node, None)
                    yield self._delta(event.node, event.node_attempt, 0, "")
            case ev.ExecutionCompleted() | ev.ExecutionStopped() | ev.ExecutionFailed():
                self._texts.clear()
                self._ahead.clear()
            case _:
                return

    def _changes(
        self, before: ExecutionState, after: ExecutionState, event: ev.AnyEvent
    ) -> Iterator[ServerEvent]:
        for key, node, state in nodes_of(after, self._body.workflow.nodes):
            if state is not before.nodes.get(key) or (state is None and _is_new_item(key, node, before)):
                yield self._event("node", node_json(key, node, state))
        tokens = self._tokens
        # Summing up every node's usage at each event would be slow for thousands of them.
        self._tokens = (
            after.tokens if after.ended else total_tokens([tokens, *(u.tokens for u in _used(event))])
        )
        progress = self._progress(after, self._tokens)
        if progress != self._progress(before, tokens):
            yield self._event("state", {"id": after.id, **progress})

    def _end(self, state: ExecutionState) -> ServerEvent:
        self.ended = True
        body = {
            "status": state.status.value,
            "output": f"{url_of(state.id)}/output",
            "execution": execution_json(state, self._body, self._retention, self.place),
        }
        return self._event("end", body)

    def piece(self, delta: Delta) -> Iterator[ServerEvent]:
        """What to send for a piece of text: what is new in it, and what waited for it."""
        if not self._current(delta):
            return
        sent = self._texts.get(delta.node)
        if sent is None or sent.attempt < delta.node_attempt:
            sent = self._texts[delta.node] = Sent(delta.node_attempt, 0)
            self._ahead.pop(delta.node, None)
        if delta.offset > sent.offset:
            waiting = self._ahead.setdefault(delta.node, {})
            if len(waiting) < AHEAD:
                waiting[delta.offset] = delta
            return
        yield from self._new_part(delta, sent.offset)
        yield from self._waited(delta.node)

    def _current(self, delta: Delta) -> bool:
        """Whether it belongs to a node of this workflow that may still be writing, in its newest start."""
        if self.opened.ended or parent_of(delta.node) not in self._nodes:
            return False
        node, sent = self.opened.nodes.get(delta.node), self._texts.get(delta.node)
        if node and (node.status is NodeStatus.COMPLETED or delta.node_attempt < node.attempts):
            return False
        return sent is None or delta.node_attempt >= sent.attempt

    def _new_part(self, delta: Delta, have: int) -> Iterator[ServerEvent]:
        text = delta.text[have - delta.offset :]
        tells = delta.waiting is not None or (
            delta.usage is not None and delta.offset + len(delta.text) == have
        )
        extra: dict[str, Any] = {}
        if delta.usage is not None:
            extra["tokens"] = tokens_json(delta.usage.tokens)
        if delta.waiting is not None:
            extra["waiting"] = delta.waiting.model_dump()
        if text or tells:
            yield self._delta(delta.node, delta.node_attempt, have, text, extra)

    def _waited(self, node: str) -> Iterator[ServerEvent]:
        waiting = self._ahead.get(node)
        while waiting:
            have = self._texts[node].offset
            first = min(waiting)
            if first > have:
                return
            yield from self._new_part(waiting.pop(first), have)
        self._ahead.pop(node, None)

    def _delta(
        self, node: str, attempt: int, offset: int, text: str, extra: Mapping[str, Any] | None = None
    ) -> ServerEvent:
        self._texts[node] = Sent(attempt, offset + len(text))
        body = {"node": node, "attempt": attempt, "offset": offset, "text": text}
        return self._event("delta", {**body, **(extra or {})})

    def _event(self, event: str, data: Mapping[str, Any]) -> ServerEvent:
        return ServerEvent(event, str(Cursor(self._seq, self._texts)), data)


def _is_new_item(key: str, node: AnyNode, before: ExecutionState) -> bool:
    """Whether it was not known yet that the for_each has this item."""
    known = before.nodes.get(node.id)
    return key != node.id and (known is None or known.items is None)


def _used(event: ev.AnyEvent) -> Sequence[ModelUsage]:
    match event:
        case ev.NodeCompleted() | ev.ExecutionReleased():
            return event.usage
        case ev.NodeStarted() | ev.ExecutionStarted():
            return event.lost
        case _:
            return ()


def _texts_of(recorded: ev.Recorded, after: ExecutionState) -> Iterator[Wanted]:
    """The final texts that an event brings, if the fold took it."""
    match recorded.event:
        case ev.NodeCompleted() as event:
            node = after.nodes.get(event.node)
            if node and node.status is NodeStatus.COMPLETED and node.attempts == event.node_attempt:
                yield Wanted(event.node, event.node_attempt, event.output)
        case ev.ExecutionStopped() | ev.ExecutionFailed() as event if after.end_seq == recorded.seq:
            for partial in event.partials:
                yield Wanted(partial.node, partial.attempt, partial.output)
        case _:
            return
