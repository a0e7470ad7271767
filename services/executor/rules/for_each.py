"""A loop over a list: opened with the number of its items, which are nodes of their own, and closed after the last."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.executor.rules.here import Here, Stuck
from services.executor.steps import Close, Step
from shared.execution import ExecutionState, parts_of
from shared.workflow import ForEachNode, item_id


def steps(node: ForEachNode, here: Here) -> Iterator[Step]:
    items = _items(node, here)
    if opening := here.opening(node, len(items)):
        yield opening
        return
    ids = [item_id(node.id, index) for index in range(len(items))]
    waiting = [
        index for index, key in enumerate(ids) if not here.state.completed(key) and key not in here.busy
    ]
    running = sum(key in here.busy for key in ids)
    if not waiting and not running:
        yield Close(node=node.id, node_attempt=here.attempt(node), kind=node.kind)
    for index in waiting[: max(0, node.concurrency - running)]:
        yield here.begin(ids[index], node.node, {node.as_: items[index], "index": index})


def value(node: ForEachNode, state: ExecutionState, values: Mapping[str, Any]) -> Any:
    """The list of its items' values."""
    return [values[key] for key in parts_of(state, node)]


def _items(node: ForEachNode, here: Here) -> Sequence[Any]:
    if node.id not in here.lists:
        items = here.evaluated(node, node.items)
        if isinstance(items, str | bytes | Mapping) or not isinstance(items, Sequence):
            raise Stuck(node.id, f"items must be a list, not {type(items).__name__}")
        here.lists[node.id] = items
    return here.lists[node.id]
