"""The rule of every kind of node, one line each."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from services.executor.rules import branch, for_each, repeat, task
from services.executor.rules.here import Here
from services.executor.steps import Step
from shared.execution import ExecutionState


class Rule(NamedTuple):
    steps: Callable[[Any, Here], Iterator[Step]]
    """What a node of this kind begins now; asked once all that it waits for is completed, and until it is itself."""
    value: Callable[[Any, ExecutionState, Mapping[str, Any]], Any]
    """What a completed one is in templates, from the values of the nodes with a text of their own."""


RULES: Mapping[str, Rule] = {
    "generate": Rule(task.steps, task.value),
    "template": Rule(task.steps, task.value),
    "for_each": Rule(for_each.steps, for_each.value),
    "branch": Rule(branch.steps, branch.value),
    "repeat": Rule(repeat.steps, repeat.value),
}
