"""What should happen next in an execution. Pure: the same state and values always give the same plan."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.executor.rules.here import Here, Stuck
from services.executor.rules.registry import RULES
from services.executor.steps import Step
from shared.dependencies import dependencies
from shared.events import ErrorInfo
from shared.execution import ExecutionState
from shared.templates import TemplateProblem
from shared.workflow import Workflow


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
    """A workflow with what never changes while it runs: its input values, who waits for whom, and lists."""

    workflow: Workflow
    inputs: Mapping[str, Any]
    waits_for: Mapping[str, frozenset[str]] | None = None
    """Kept once it is worked out, which is part of the first plan: every template is parsed for it."""
    lists: dict[str, Sequence[Any]] = field(default_factory=dict)
    """The items of each for_each, kept once evaluated."""


def value_of(text: str, structured: bool) -> Any:
    """What a finished node is in templates: its text, or what its JSON says."""
    return json.loads(text) if structured else text


def plan(program: Program, state: ExecutionState, values: Mapping[str, Any], busy: frozenset[str]) -> Plan:
    """What to begin now.

    `values` maps the id of every completed node that has a text of its own, parts included, to its value; `busy` are
    nodes being run here.
    """
    if all(state.completed(node.id) for node in program.workflow.nodes):
        return Plan(output=program.workflow.output)
    try:
        steps = tuple(_steps(program, state, values, busy))
    except Stuck as stuck:
        return Plan(error=stuck.info)
    if not steps and not busy:
        return Plan(error=ErrorInfo(code="deadlock", message="No node can start: nodes wait for each other."))
    return Plan(steps=steps)


def _waits_for(program: Program) -> Mapping[str, frozenset[str]]:
    """Raises: Stuck, when a template can not be parsed."""
    if program.waits_for is None:
        try:
            program.waits_for = dependencies(program.workflow)
        except TemplateProblem as error:
            raise Stuck(None, f"A template can not be used: {str(error)[:500]}") from None
    return program.waits_for


def _steps(
    program: Program, state: ExecutionState, values: Mapping[str, Any], busy: frozenset[str]
) -> Iterator[Step]:
    nodes = program.workflow.nodes
    waits_for = _waits_for(program)
    finished = {
        node.id: RULES[node.kind].value(node, state, values) for node in nodes if state.completed(node.id)
    }
    here = Here(
        state=state, values=values, scope={**program.inputs, **finished}, busy=busy, lists=program.lists
    )
    for node in nodes:
        if node.id not in finished and waits_for[node.id] <= finished.keys() and node.id not in busy:
            yield from RULES[node.kind].steps(node, here)
