"""A choice between tasks: the first case whose condition is true runs as a node of its own."""

from collections.abc import Iterator, Mapping
from typing import Any

from services.executor.rules.here import Here
from services.executor.steps import Close, Step
from shared.execution import ExecutionState, parts_of
from shared.workflow import BranchNode, item_id


def steps(node: BranchNode, here: Here) -> Iterator[Step]:
    if opening := here.opening(node):
        yield opening
        return
    index = _chosen(node, here)
    key = item_id(node.id, index) if index is not None else None
    if key is None or here.state.completed(key):
        yield Close(node=node.id, node_attempt=here.attempt(node), kind=node.kind, text_of=key)
    elif index is not None and key not in here.busy:
        yield here.begin(key, node.task(index))


def _chosen(node: BranchNode, here: Here) -> int | None:
    """The number of the case; that of `else` is the number of cases. None when there is nothing to run.

    What has begun stays chosen, whoever asks. Before that the choice follows from inputs and finished nodes alone.
    """
    for index in range(node.most):
        if here.begun(item_id(node.id, index)):
            return index
    for index, case in enumerate(node.cases):
        if here.evaluated(node, case.when):
            return index
    return len(node.cases) if node.else_ is not None else None


def value(node: BranchNode, state: ExecutionState, values: Mapping[str, Any]) -> Any:
    """That of the case that ran, `""` without one."""
    return next((values[key] for key in parts_of(state, node)), "")
