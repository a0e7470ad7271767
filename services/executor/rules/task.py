"""A node that is one task, `generate` or `template`: it begins once."""

from collections.abc import Iterator, Mapping
from typing import Any

from services.executor.rules.here import Here
from services.executor.steps import Step
from shared.execution import ExecutionState
from shared.workflow import GenerateNode, TemplateNode


def steps(node: GenerateNode | TemplateNode, here: Here) -> Iterator[Step]:
    if node.id not in here.busy:
        yield here.begin(node.id, node)


def value(node: GenerateNode | TemplateNode, state: ExecutionState, values: Mapping[str, Any]) -> Any:
    return values[node.id]
