"""A run without services: the planner, the fold, and answers that are made up."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from deploy.local.standin.schema import Maker
from deploy.local.standin.subject import find
from services.executor.planner import Plan, Program, plan, value_of
from services.executor.steps import CallModel, Close, GiveText, Open, Step
from shared import events as ev
from shared.dependencies import dependencies
from shared.execution import ExecutionState, apply, parts_of
from shared.workflow import BranchNode, RepeatNode, Workflow
from tests.support.make import history, requested, started

MOST_NODES = 60
"""Where a run ends as one that has reached its limit."""
WORDS = ("yes", "no", "a b", "tea", "")


@dataclass
class PureRun:
    """`losses`: turns at which another executor takes over, which knows only the log."""

    workflow: Workflow
    inputs: Mapping[str, Any]
    rng: Random
    losses: frozenset[int] = frozenset()
    events: list[ev.AnyEvent] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    running: dict[str, CallModel] = field(default_factory=dict)
    attempt: int = 1

    def __post_init__(self) -> None:
        self.program = self._program()
        self.state: ExecutionState | None = None
        self._happen(requested(), started())

    def _program(self) -> Program:
        return Program(workflow=self.workflow, inputs=self.inputs, waits_for=dependencies(self.workflow))

    def _happen(self, *events: ev.AnyEvent) -> None:
        for event in events:
            self.events.append(event)
            (recorded,) = history(event)
            seq = len(self.events)
            self.state = apply(self.state, replace(recorded, seq=seq, after=seq - 1))

    def to_its_end(self) -> Plan | None:
        """The last plan, with output or error; None when the limit of nodes was reached."""
        for turn in range(10 * MOST_NODES):
            if turn in self.losses:
                self._change_hands()
            assert self.state is not None
            result = plan(self.program, self.state, self.values, frozenset(self.running))
            if result.output is not None or result.error is not None:
                return result
            if (
                len(self.state.nodes) + sum(getattr(step, "items", 0) or 0 for step in result.steps)
                > MOST_NODES
            ):
                return None
            assert result.steps or self.running
            for step in result.steps:
                self._do(step)
            if self.running and not any(isinstance(step, Open) for step in result.steps):
                self._answer(self.running.pop(self.rng.choice(sorted(self.running))))
        raise AssertionError("it never ended")

    def _change_hands(self) -> None:
        self.attempt += 1
        self.running.clear()
        self.program = self._program()
        self._happen(started(self.attempt, f"executor {self.attempt}"))

    def _do(self, step: Step) -> None:
        assert self.state is not None
        assert not self.state.completed(step.node)
        assert step.node not in self.running
        match step:
            case Open():
                self._happen(self._started(step, step.kind, step.items))
            case Close():
                part = self.state.nodes[step.text_of] if step.text_of else None
                output = part.output if part and part.output else ev.TextRef()
                self._happen(self._completed(step, output, structured=part is not None and part.structured))
            case GiveText():
                self._finish(step, step.text, structured=False)
            case CallModel():
                self._happen(self._started(step, "generate", None))
                self.running[step.node] = step

    def _answer(self, step: CallModel) -> None:
        schema = step.prompt.task.output_schema
        if schema is None:
            self._finish(step, self.rng.choice(WORDS), structured=False)
            return
        made = Maker(schema, find(step.prompt.text), step.prompt.text, self.rng.randint(0, 99)).make()
        self._finish(step, json.dumps(made), structured=True)

    def _finish(self, step: Step, text: str, *, structured: bool) -> None:
        self._happen(
            self._completed(step, ev.TextRef(text=text, characters=len(text)), structured=structured)
        )
        self.values[step.node] = value_of(text, structured)

    def _started(self, step: Step, kind: str, items: int | None) -> ev.NodeStarted:
        return ev.NodeStarted(
            attempt=self.attempt, node=step.node, kind=kind, node_attempt=step.node_attempt, items=items
        )

    def _completed(self, step: Step, output: ev.TextRef, *, structured: bool) -> ev.NodeCompleted:
        return ev.NodeCompleted(
            attempt=self.attempt, node=step.node, kind="x", node_attempt=step.node_attempt, output=output,
            structured=structured,
        )  # fmt: skip

    def check(self) -> None:
        """What must hold of every history."""
        assert self.state is not None
        assert self.state.anomalies == ()
        completed = [event.node for event in self.events if isinstance(event, ev.NodeCompleted)]
        assert len(completed) == len(set(completed))
        for node in self.workflow.nodes:
            parts = list(parts_of(self.state, node))
            if isinstance(node, BranchNode):
                assert len(parts) <= 1
            if isinstance(node, RepeatNode):
                assert parts == [f"{node.id}/{index}" for index in range(len(parts))]
