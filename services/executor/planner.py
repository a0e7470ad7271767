"""What should happen next in an execution. Pure: the same state and values always give the same plan."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.events import ErrorInfo
from shared.execution import ExecutionState, NodeStatus
from shared.templates import TemplateProblem, evaluate, render
from shared.workflow import ForEachNode, GenerateTask, TemplateTask, Workflow, item_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A rendered model call."""

    task: GenerateTask
    text: str
    system: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallModel:
    node: str
    node_attempt: int
    prompt: Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveText:
    """A template node: its text is already known."""

    node: str
    node_attempt: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenItems:
    """A for_each begins; its items are planned once it is open."""

    node: str
    node_attempt: int
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseItems:
    """All items of a for_each are completed."""

    node: str
    node_attempt: int


Step = CallModel | GiveText | OpenItems | CloseItems


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps to begin now, beside those that run already; or the end."""

    steps: tuple[Step, ...] = ()
    output: str | None = None
    """Every node is completed, and this one holds the execution's output."""
    error: ErrorInfo | None = None
    """It can not go on."""


@dataclass(kw_only=True)
class Program:
    """A workflow with what never changes while it runs: its input values and who waits for whom."""

    workflow: Workflow
    inputs: Mapping[str, Any]
    waits_for: Mapping[str, frozenset[str]]
    lists: dict[str, Sequence[Any]] = field(default_factory=dict)
    """The items of each for_each, kept once evaluated."""


class _Stuck(Exception):
    def __init__(self, node: str, message: str) -> None:
        super().__init__(message)
        self.info = ErrorInfo(code="template_error", message=f"Node {node}: {message}", node=node)


def value_of(text: str, structured: bool) -> Any:
    """What a finished node is in templates: its text, or what its JSON says."""
    return json.loads(text) if structured else text


def plan(program: Program, state: ExecutionState, values: Mapping[str, Any], busy: frozenset[str]) -> Plan:
    """What to begin now.

    `values` maps the id of every completed node, items included, to its value; `busy` are nodes being run here.
    """
    if all(state.completed(node.id) for node in program.workflow.nodes):
        return Plan(output=program.workflow.output)
    try:
        steps = tuple(_steps(program, state, values, busy))
    except _Stuck as stuck:
        return Plan(error=stuck.info)
    if not steps and not busy:
        return Plan(error=ErrorInfo(code="deadlock", message="No node can start: nodes wait for each other."))
    return Plan(steps=steps)


def _steps(
    program: Program, state: ExecutionState, values: Mapping[str, Any], busy: frozenset[str]
) -> Iterator[Step]:
    for node in program.workflow.nodes:
        if state.completed(node.id) or node.id in busy:
            continue
        if not all(state.completed(other) for other in program.waits_for[node.id]):
            continue
        scope = {**program.inputs, **_node_values(program, state, values)}
        if isinstance(node, ForEachNode):
            yield from _for_each(program, node, state, scope, busy)
        else:
            yield _task(node.id, _next_attempt(state, node.id), node, scope)


def _node_values(program: Program, state: ExecutionState, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by node of the workflow; a for_each is the list of its items' values."""
    found: dict[str, Any] = {}
    for node in program.workflow.nodes:
        if not state.completed(node.id):
            continue
        if isinstance(node, ForEachNode):
            count = state.nodes[node.id].items or 0
            found[node.id] = [values[item_id(node.id, index)] for index in range(count)]
        else:
            found[node.id] = values[node.id]
    return found


def _next_attempt(state: ExecutionState, node_id: str) -> int:
    node = state.nodes.get(node_id)
    return node.attempts + 1 if node else 1


def _task(
    node_id: str, node_attempt: int, task: GenerateTask | TemplateTask, scope: Mapping[str, Any]
) -> Step:
    try:
        if isinstance(task, TemplateTask):
            return GiveText(node=node_id, node_attempt=node_attempt, text=render(task.template, scope))
        system = render(task.system, scope) if task.system is not None else None
        prompt = Prompt(task=task, text=render(task.prompt, scope), system=system)
    except TemplateProblem as problem:
        raise _Stuck(node_id, str(problem)) from None
    return CallModel(node=node_id, node_attempt=node_attempt, prompt=prompt)


def _for_each(
    program: Program, node: ForEachNode, state: ExecutionState, scope: Mapping[str, Any], busy: frozenset[str]
) -> Iterator[Step]:
    items = _items(program, node, scope)
    here = state.nodes.get(node.id)
    if here is None or here.status is not NodeStatus.RUNNING:
        yield OpenItems(node=node.id, node_attempt=_next_attempt(state, node.id), items=len(items))
        return
    ids = [item_id(node.id, index) for index in range(len(items))]
    waiting = [index for index, key in enumerate(ids) if not state.completed(key) and key not in busy]
    running = sum(key in busy for key in ids)
    if not waiting and not running:
        yield CloseItems(node=node.id, node_attempt=here.attempts)
    for index in waiting[: max(0, node.concurrency - running)]:
        local = {**scope, node.as_: items[index], "index": index}
        yield _task(ids[index], _next_attempt(state, ids[index]), node.node, local)


def _items(program: Program, node: ForEachNode, scope: Mapping[str, Any]) -> Sequence[Any]:
    if node.id not in program.lists:
        try:
            items = evaluate(node.items, scope)
        except TemplateProblem as problem:
            raise _Stuck(node.id, str(problem)) from None
        if isinstance(items, str | bytes | Mapping) or not isinstance(items, Sequence):
            raise _Stuck(node.id, f"items must be a list, not {type(items).__name__}")
        program.lists[node.id] = items
    return program.lists[node.id]
