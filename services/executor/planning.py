"""The next plan of a run: worked out here, or apart when its templates take longer than everybody else can wait."""

import asyncio
from collections.abc import Mapping
from typing import Any

from services.executor.apart import MEMORY_BYTES, Question, plan_apart
from services.executor.bounds import OutOfTime, bounded
from services.executor.planner import Plan, Program, plan
from shared.execution import ExecutionState
from shared.tasks import spawn

HERE_SECONDS = 0.02
"""Of CPU time; meanwhile every other execution of this process waits, its stop included."""


class Planning:
    """One plan at a time."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Plan] | None = None

    async def next(
        self, program: Program, state: ExecutionState, values: Mapping[str, Any], busy: frozenset[str]
    ) -> Plan | None:
        """None when it was interrupted."""
        try:
            with bounded(HERE_SECONDS, MEMORY_BYTES):
                return plan(program, state, values, busy)
        except (OutOfTime, MemoryError):
            question = Question(program=program, state=state, values=dict(values), busy=busy)
        self._task = task = spawn(plan_apart(question), name=f"plan {state.id}")
        await asyncio.wait([task])
        self._task = None
        return None if task.cancelled() else task.result()

    def interrupt(self) -> None:
        if self._task is not None:
            self._task.cancel()
