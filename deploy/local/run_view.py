"""What a viewer knows of one execution, folded from its events. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.local.sse import Event

ENDED = frozenset({"completed", "stopped", "failed"})
PENDING = "pending"
_WAITS_FOR = {
    "quota": "quota",
    "rate_limit": "its turn",
    "overloaded": "an overloaded model",
    "provider_unreachable": "the model's provider",
}


@dataclass
class NodeView:
    id: str
    kind: str = ""
    status: str = PENDING
    model: str | None = None
    attempt: int = 0
    tokens: int = 0
    text: str = ""
    """Of the present attempt."""
    waiting: str | None = None
    """Why it does not go on at the moment, in words."""


@dataclass
class RunView:
    execution_id: str
    status: str = "queued"
    engine: str = ""
    tokens: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    queue: Mapping[str, Any] | None = None
    """Its place while it is queued, if that is known."""
    nodes: dict[str, NodeView] = field(default_factory=dict)
    writing: str | None = None
    """The node whose text came last."""

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def apply(self, event: Event) -> list[NodeView]:
        """Takes an event in; returns the nodes whose status it has changed."""
        match event.name:
            case "snapshot":
                return self._take_execution(event.data)
            case "node":
                return self._take_node(event.data)
            case "delta":
                self._take_delta(event.data)
            case "state" | "end":
                self._take_progress(event.data)
        return []

    def in_order(self) -> list[NodeView]:
        """As in the workflow, the items of a for_each after it."""
        nodes = list(self.nodes.values())  # a copy, as another thread may add one meanwhile
        places = {node.id: place for place, node in enumerate(nodes) if "/" not in node.id}

        def place(node: NodeView) -> tuple[int, int]:
            parent, _, index = node.id.partition("/")
            return places.get(parent, len(places)), int(index) if index.isdecimal() else -1

        return sorted(nodes, key=place)

    def _take_execution(self, execution: Mapping[str, Any]) -> list[NodeView]:
        self.engine = str((execution.get("engine") or {}).get("name") or "")
        self._take_progress(execution)
        return [changed for node in execution.get("nodes") or [] for changed in self._take_node(node)]

    def _take_progress(self, data: Mapping[str, Any]) -> None:
        self.status = str(data.get("status", self.status))
        self.tokens = data.get("tokens") or self.tokens
        self.error = data.get("error") or self.error
        self.queue = data.get("queue")

    def _take_node(self, data: Mapping[str, Any]) -> list[NodeView]:
        node = self._node(str(data["id"]))
        before = node.status
        node.kind = data.get("kind") or node.kind
        node.status = data.get("status") or node.status
        node.model = data.get("model") or node.model
        node.waiting = None
        self._take_tokens(node, data)
        return [node] if node.status != before else []

    def _take_delta(self, data: Mapping[str, Any]) -> None:
        node = self._node(str(data["node"]))
        attempt, offset = int(data.get("attempt") or 0), int(data.get("offset") or 0)
        if attempt < node.attempt:
            return
        if attempt > node.attempt:
            node.attempt, node.text = attempt, ""
        waiting = data.get("waiting")
        node.waiting = _wait(waiting) if waiting else None
        self._take_tokens(node, data)
        if data["text"]:
            node.text = node.text[:offset] + str(data["text"])
            self.writing = node.id

    def _take_tokens(self, node: NodeView, data: Mapping[str, Any]) -> None:
        tokens = data.get("tokens")
        if tokens:
            node.tokens = int(tokens.get("total") or node.tokens)

    def _node(self, node_id: str) -> NodeView:
        return self.nodes.setdefault(node_id, NodeView(id=node_id))


def _wait(waiting: Mapping[str, Any]) -> str:
    """Such as `waiting 12 s for quota`."""
    reason = str(waiting.get("reason"))
    return f"waiting {math.ceil(float(waiting.get('seconds') or 0))} s for {_WAITS_FOR.get(reason, reason)}"
