"""An execution as JSON, from its state and its workflow. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from services.gateway.outstanding import Place
from shared import events as ev
from shared.execution import ExecutionState, NodeState, NodeStatus, Status, parts_of
from shared.usage import Certainty, ModelUsage, Tokens, total_tokens
from shared.workflow import AnyNode, GenerateTask, task_of


def rfc3339(time: datetime | None) -> str | None:
    """In UTC with microseconds and `Z`."""
    if time is None:
        return None
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def url_of(execution_id: str) -> str:
    return f"/v1/executions/{execution_id}"


def tokens_json(tokens: Tokens) -> dict[str, Any]:
    return {
        "input": tokens.input,
        "cached": tokens.cached,
        "output": tokens.output,
        "thoughts": tokens.thoughts,
        "tool": tokens.tool,
        "total": tokens.total,
        "certainty": tokens.certainty.value,
    }


def usage_json(usage: tuple[ModelUsage, ...]) -> list[dict[str, Any]]:
    """What each model used, one item per model, tier and certainty."""
    return [
        {"model": u.model, "kind": u.tier.value, "calls": u.calls, "tokens": tokens_json(u.tokens)}
        for u in usage
    ]


def queue_json(status: str, place: Place | None) -> dict[str, Any] | None:
    """The place of a queued execution: position 1 is the next. None for any other, and while it is not known."""
    if place is None or status != Status.QUEUED:
        return None
    return {
        "position": place.ahead + 1,
        "ahead": place.ahead,
        "estimated_wait_seconds": None if place.seconds is None else _two_digits(place.seconds),
    }


def _two_digits(seconds: float) -> float:
    """An estimate is not better than that, and viewers need not be told of every change."""
    return float(f"{seconds:.2g}")


def execution_json(
    state: ExecutionState, body: ev.RequestBody, retention: timedelta, place: Place | None
) -> dict[str, Any]:
    """The whole resource, without texts."""
    return {
        "id": state.id,
        "user_id": state.user_id,
        "engine": engine_json(state.engine),
        **progress_json(state, retention, state.tokens, place),
        "kind": state.kind.value,
        "input": input_json(body),
        "limits": state.limits.model_dump(),
        "nodes": [node_json(*found) for found in nodes_of(state, body.workflow.nodes)],
        "usage": usage_json(state.usage),
        "created_at": rfc3339(state.requested_at),
        "output": f"{url_of(state.id)}/output",
        "events": f"{url_of(state.id)}/events",
    }


def input_json(body: ev.RequestBody) -> dict[str, Any]:
    """In the order of the form: what must be given first, else as the engine names them."""
    required = {name for name, spec in body.workflow.inputs.items() if spec.required}
    return dict(sorted(body.input.items(), key=lambda given: given[0] not in required))


def engine_json(engine: ev.EngineRef) -> dict[str, Any]:
    return {"id": engine.id, "name": engine.name, "version": engine.version}


def progress_json(
    state: ExecutionState, retention: timedelta, tokens: Tokens, place: Place | None
) -> dict[str, Any]:
    """The part of the resource that changes while it runs, without its nodes."""
    return {
        "status": state.status.value,
        "tokens": tokens_json(tokens),
        "error": state.error.model_dump() if state.error else None,
        "started_at": rfc3339(state.started_at),
        "ended_at": rfc3339(state.ended_at),
        "expires_at": rfc3339(state.ended_at + retention) if state.ended_at else None,
        "attempt": state.attempt,
        "worker": state.owner,
        "lane": state.lane,
        "queue": queue_json(state.status, place),
        "stop": stop_json(state.stop),
    }


def stop_json(stop: ev.StopInfo | None) -> dict[str, Any] | None:
    if stop is None:
        return None
    return {
        "by": stop.by,
        "reason": stop.reason,
        "force": stop.force,
        "at": rfc3339(stop.at),
        "heard_at": rfc3339(stop.heard_at),
        "closed_at": rfc3339(stop.closed_at),
    }


def nodes_of(
    state: ExecutionState, workflow: tuple[AnyNode, ...]
) -> Iterator[tuple[str, AnyNode, NodeState | None]]:
    """Every node with its id, in the order of the workflow; after it what it is made of, of a for_each all items."""
    for node in workflow:
        yield node.id, node, state.nodes.get(node.id)
        for key in parts_of(state, node):
            yield key, node, state.nodes.get(key)


def node_json(node_id: str, node: AnyNode, state: NodeState | None) -> dict[str, Any]:
    task = task_of(node, node_id)
    return {
        "id": node_id,
        "kind": task.kind if task else node.kind,
        "name": node.name,
        "status": state.status.value if state else "pending",
        "model": (state.model if state else None) or (task.model if isinstance(task, GenerateTask) else None),
        "tokens": tokens_json(_node_tokens(task, state)),
        "attempts": state.attempts if state else 0,
        "items": state.items if state else None,
        "characters": text_length(state.output) if state and state.output else 0,
        "truncated": state.truncated if state else False,
        "finish_reason": state.finish_reason if state else None,
    }


def _node_tokens(task: object, state: NodeState | None) -> Tokens:
    """Of all its calls. Of one that has not finished nothing is in the log, which is not the same as zero."""
    if state is None or not isinstance(task, GenerateTask):
        return Tokens()
    if state.status is NodeStatus.COMPLETED or state.usage:
        return total_tokens(part.tokens for part in (*state.usage, *state.spent))
    return total_tokens([*(part.tokens for part in state.spent), Tokens(certainty=Certainty.UNKNOWN)])


def text_length(text: ev.TextRef) -> int:
    """In characters."""
    return len(text.text) if text.text is not None else text.characters


def pruned_json(
    user_id: str, ended: str, ended_at: datetime, usage: tuple[ModelUsage, ...]
) -> Mapping[str, Any]:
    """What is still known of an execution whose history is gone."""
    return {
        "user_id": user_id,
        "ended": ended,
        "ended_at": rfc3339(ended_at),
        "tokens": tokens_json(total_tokens(part.tokens for part in usage)),
        "usage": usage_json(usage),
    }
