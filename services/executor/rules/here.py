"""What a rule sees of the execution, and what all rules share. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from services.executor.bounds import MEMORY_BYTES, OutOfTime
from services.executor.steps import CallModel, GiveText, Open, Prompt, Step
from shared.events import ErrorInfo
from shared.execution import ExecutionState, NodeStatus
from shared.templates import TemplateProblem, TemplateTooLarge, evaluate, render
from shared.workflow import AnyNode, GenerateTask, GroupNode, TemplateTask

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Stuck(Exception):
    """The execution can not go on: a template failed, of this node if one is named."""

    def __init__(self, node: str | None, message: str) -> None:
        super().__init__(message)
        told = message if node is None else f"Node {node}: {message}"
        self.info = ErrorInfo(code="template_error", message=told, node=node)


@contextmanager
def _template_of(node: str) -> Iterator[None]:
    """Raises: Stuck, for what goes wrong in the block; OutOfTime, with the node in it."""
    try:
        yield
    except TemplateTooLarge:
        limit = f"its template needs more than {MEMORY_BYTES >> 20} MiB of memory"
        raise Stuck(node, f"{limit}. Make it do less.") from None
    except TemplateProblem as problem:
        raise Stuck(node, str(problem)) from None
    except OutOfTime as late:
        late.node = node
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """The execution at one moment."""

    state: ExecutionState
    values: Mapping[str, Any]
    """Of every completed node that has a text of its own, by id."""
    scope: Mapping[str, Any]
    """What templates see: inputs and the values of the workflow's completed nodes."""
    busy: frozenset[str]
    """Nodes that are being run."""
    lists: dict[str, Sequence[Any]]
    """The items of each for_each, kept once evaluated."""

    def next_attempt(self, node_id: str) -> int:
        node = self.state.nodes.get(node_id)
        return node.attempts + 1 if node else 1

    def begun(self, node_id: str) -> bool:
        """Whether the log knows of it."""
        return node_id in self.state.nodes

    def opening(self, node: GroupNode, items: int | None = None) -> Open | None:
        """The step that opens a node which is made of others; None when this attempt has opened it."""
        known = self.state.nodes.get(node.id)
        if known is not None and known.status is NodeStatus.RUNNING:
            return None
        return Open(node=node.id, node_attempt=self.next_attempt(node.id), kind=node.kind, items=items)

    def attempt(self, node: AnyNode) -> int:
        """That of an open node."""
        return self.state.nodes[node.id].attempts

    def begin(
        self, node_id: str, task: GenerateTask | TemplateTask, local: Mapping[str, Any] = NOTHING
    ) -> Step:
        """The step that runs a task, its templates rendered with `local` beside the scope. Raises: Stuck."""
        seen = {**self.scope, **local}
        attempt = self.next_attempt(node_id)
        with _template_of(node_id):
            if isinstance(task, TemplateTask):
                return GiveText(node=node_id, node_attempt=attempt, text=render(task.template, seen))
            system = render(task.system, seen) if task.system is not None else None
            prompt = Prompt(task=task, text=render(task.prompt, seen), system=system)
            return CallModel(node=node_id, node_attempt=attempt, prompt=prompt)

    def evaluated(self, node: AnyNode, expression: str, local: Mapping[str, Any] = NOTHING) -> Any:
        """Raises: Stuck."""
        with _template_of(node.id):
            return evaluate(expression, {**self.scope, **local})
