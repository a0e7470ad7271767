"""Short ways to build events and histories in tests."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from shared import events as ev
from shared.execution import ExecutionState, fold
from shared.ids import new_id
from shared.usage import Kind, ModelUsage, Tier, Tokens
from shared.workflow import Limits, Workflow

START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
USER = "01a20000-0000-7000-8000-000000000001"
MODEL = "gemini-3.8-flash"

ONE_TEMPLATE: dict[str, Any] = {
    "nodes": [{"id": "text", "kind": "template", "template": "hello"}],
    "output": "text",
}


def workflow(definition: dict[str, Any] | None = None) -> Workflow:
    return Workflow.model_validate(definition or ONE_TEMPLATE)


def requested(definition: dict[str, Any] | None = None, **changes: Any) -> ev.ExecutionRequested:
    given: dict[str, Any] = {
        "user_id": USER,
        "lane": "now",
        "engine": ev.EngineRef(id="test", name="Test", version=1),
        "kind": Kind.INCLUDED,
        "tiers": {MODEL: Tier.INCLUDED},
        "body": ev.RequestBody(workflow=workflow(definition), input=changes.pop("input", {})),
        "limits": Limits(),
    }
    return ev.ExecutionRequested(**{**given, **changes})


def usage(output: int = 5, **counts: Any) -> ModelUsage:
    return ModelUsage(model=MODEL, tier=Tier.INCLUDED, tokens=Tokens(input=10, output=output, **counts))


def started(attempt: int = 1, instance: str = "here", **changes: Any) -> ev.ExecutionStarted:
    return ev.ExecutionStarted(attempt=attempt, instance=instance, **changes)


def node_started(node: str, node_attempt: int = 1, attempt: int = 1, **changes: Any) -> ev.NodeStarted:
    return ev.NodeStarted(
        attempt=attempt, node=node, kind="generate", node_attempt=node_attempt, model=MODEL, **changes
    )


def node_completed(node: str, text: str = "done", attempt: int = 1, **changes: Any) -> ev.NodeCompleted:
    given: dict[str, Any] = {"kind": "generate", "node_attempt": 1, "usage": (usage(),)}
    output = ev.TextRef(text=text, characters=len(text))
    return ev.NodeCompleted(attempt=attempt, node=node, output=output, **{**given, **changes})


def history(*events: ev.AnyEvent, execution_id: str | None = None) -> list[ev.Recorded]:
    """The events as a log of their own would hold them, a second apart."""
    execution_id = execution_id or new_id()
    return [
        ev.Recorded(
            execution_id=execution_id,
            event=event,
            seq=number,
            time=START + timedelta(seconds=number),
            after=number - 1,
            message_id=f"m{number}",
        )
        for number, event in enumerate(events, start=1)
    ]


def folded(events: Iterable[ev.Recorded]) -> ExecutionState:
    state = fold(events)
    assert state is not None
    return state
