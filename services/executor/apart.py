"""Planning in a process of its own, for templates that take longer than the event loop can wait.

The program of one user must not delay the stops of others. The process is started for one plan, knows no secret, and
ends with it; a stop ends it at once. `python -m services.executor.apart` is that process.
"""

import asyncio
import os
import pickle
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.executor.bounds import OutOfTime, bounded
from services.executor.patience import patiently
from services.executor.planner import Plan, Program, plan
from shared import own_process
from shared.events import ErrorInfo
from shared.execution import ExecutionState

MODULE = "services.executor.apart"
CPU_SECONDS = 1.0
"""Of CPU time that the templates of one plan may take."""
MEMORY_BYTES = 256 << 20
"""How much memory they may take."""
PATIENCE_SECONDS = 60.0
"""By the clock, the start of the process and waiting for a core included."""
AT_ONCE = 2
"""More of them wait for their turn."""
NICENESS = 5
"""What calls models and obeys stops comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    program: Program
    state: ExecutionState
    values: Mapping[str, Any]
    busy: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    plan: Plan
    lists: dict[str, Sequence[Any]]
    """What `Program.lists` has become: it is not worked out again."""
    waits_for: Mapping[str, frozenset[str]] | None
    """As `lists`; None when there was no time for it."""
    seconds: float
    """Of CPU time that it took."""


def too_much() -> Plan:
    message = (
        f"Its templates take more than {CPU_SECONDS:g} s or {MEMORY_BYTES >> 20} MiB. Make them do less."
    )
    return Plan(error=ErrorInfo(code="template_error", message=message))


class Apart:
    """One for the process that runs executions."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def answer(self, question: Question) -> Answer:
        """The plan, or one that says why there is none. Cancelling it ends the process."""
        async with self._turns:
            process = await patiently(lambda: own_process.start(MODULE))
            output = await own_process.answer(process, pickle.dumps(question), PATIENCE_SECONDS)
        if output is None:
            return _no_answer(question)
        found: Answer = pickle.loads(output)  # noqa: S301 - written by this very program
        return found


def _no_answer(question: Question) -> Answer:
    program = question.program
    return Answer(plan=too_much(), lists=program.lists, waits_for=program.waits_for, seconds=CPU_SECONDS)


def answer_to(question: Question) -> Answer:
    """In bounds of time and memory; for the main thread of a process."""
    begun = time.process_time()
    try:
        with bounded(CPU_SECONDS, MEMORY_BYTES):
            found = plan(question.program, question.state, question.values, question.busy)
    except (OutOfTime, MemoryError):
        found = too_much()
    program = question.program
    seconds = time.process_time() - begun
    return Answer(plan=found, lists=program.lists, waits_for=program.waits_for, seconds=seconds)


if __name__ == "__main__":
    os.nice(NICENESS)
    # Under its real name: what is pickled by `__main__` is not what the other side knows.
    from services.executor import apart

    sys.stdout.buffer.write(pickle.dumps(apart.answer_to(pickle.load(sys.stdin.buffer))))  # noqa: S301 - as above
