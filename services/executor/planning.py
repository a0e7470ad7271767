"""The next plan of a run: worked out here, or apart when its templates take longer than everybody else can wait."""

import asyncio
from collections.abc import Mapping
from typing import Any

from services.executor.apart import Answer, Apart, Question
from services.executor.bounds import HERE_SECONDS, MEMORY_BYTES, OutOfTime, bounded
from services.executor.planner import Plan, Program, plan
from shared.execution import ExecutionState
from shared.tasks import spawn

FIRST_SECONDS = 0.05
"""Of the first plan of a run: every template is parsed for it."""


class Planning:
    """One plan at a time."""

    def __init__(self, apart: Apart) -> None:
        self._apart = apart
        self._task: asyncio.Task[Answer] | None = None
        self._heavy = False
        """Whether the plan before was: then the next is not even tried here."""

    async def next(
        self, program: Program, state: ExecutionState, values: Mapping[str, Any], busy: frozenset[str]
    ) -> Plan | None:
        """None when it was interrupted."""
        if not self._heavy:
            try:
                with bounded(HERE_SECONDS if program.waits_for is not None else FIRST_SECONDS, MEMORY_BYTES):
                    return plan(program, state, values, busy)
            except (OutOfTime, MemoryError):
                self._heavy = True
        question = Question(program=program, state=state, values=dict(values), busy=busy)
        self._task = task = spawn(self._apart.answer(question), name=f"plan {state.id}")
        await asyncio.wait([task])
        self._task = None
        if task.cancelled():
            return None
        answer = task.result()
        program.lists.update(answer.lists)
        program.waits_for = answer.waits_for
        self._heavy = answer.seconds > HERE_SECONDS
        return answer.plan

    def interrupt(self) -> None:
        if self._task is not None:
            self._task.cancel()
