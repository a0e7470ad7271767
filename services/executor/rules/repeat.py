"""Rounds of one task, each a node of its own, until a condition is true or their number is reached."""

from collections.abc import Iterator, Mapping
from typing import Any

from services.executor.rules.here import Here
from services.executor.steps import Close, Step
from shared.execution import ExecutionState, parts_of
from shared.workflow import RepeatNode, item_id


def steps(node: RepeatNode, here: Here) -> Iterator[Step]:
    if opening := here.opening(node):
        yield opening
        return
    done = sum(here.state.completed(key) for key in parts_of(here.state, node))
    key = item_id(node.id, done)
    if key in here.busy:
        return
    last = item_id(node.id, done - 1) if done else None
    if last is not None and not here.begun(key) and _over(node, here, done, here.values[last]):
        yield Close(node=node.id, node_attempt=here.attempt(node), kind=node.kind, text_of=last)
        return
    previous = here.values[last] if last is not None else ""
    yield here.begin(key, node.node, {"previous": previous, "index": done})


def _over(node: RepeatNode, here: Here, done: int, previous: Any) -> bool:
    return done >= node.times or bool(
        here.evaluated(node, node.until, {"previous": previous, "index": done - 1})
    )


def value(node: RepeatNode, state: ExecutionState, values: Mapping[str, Any]) -> Any:
    """That of the last round."""
    return values[list(parts_of(state, node))[-1]]
