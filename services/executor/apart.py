"""Work in a process of its own, for templates and schemas that take longer than the event loop can wait.

The program of one user must not delay the stops of others. The process is started for one question, knows no secret, and
ends with it; a stop ends it at once. `python -m services.executor.apart` is that process.
"""

import asyncio
import os
import pickle
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from services.executor.bounds import MEMORY_BYTES, OutOfTime, bounded
from services.executor.patience import patiently
from services.executor.planner import Plan, Program, plan
from shared import own_process
from shared.events import ErrorInfo
from shared.execution import ExecutionState

T = TypeVar("T")

MODULE = "services.executor.apart"
CPU_SECONDS = 1.0
"""Of CPU time that the templates of one plan, or one check, may take."""
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


class TooMuch(Exception):
    """It takes more time or memory than it may."""


def too_long(node: str | None) -> Plan:
    """`node` is the one in whose template the time ran out."""
    if node is None:
        return too_much()
    limit = f"templates that are worked out together may take {CPU_SECONDS:g} s"
    message = f"Node {node}: the time ran out in its template; {limit}. Make them do less."
    return Plan(error=ErrorInfo(code="template_error", message=message, node=node))


class Apart:
    """One for the process that runs executions."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def answer(self, question: Question) -> Answer:
        """The plan, or one that says why there is none. Cancelling it ends the process."""
        try:
            return await self.run(answer_to, question)
        except TooMuch:
            program = question.program
            return Answer(
                plan=too_much(), lists=program.lists, waits_for=program.waits_for, seconds=CPU_SECONDS
            )

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """What a function of the top level of a module gives, which keeps to its own bounds of time and memory.

        Cancelling it ends the process. Raises: TooMuch, when it did not keep to them.
        """
        async with self._turns:
            process = await patiently(lambda: own_process.start(MODULE))
            output = await own_process.answer(process, pickle.dumps((function, arguments)), PATIENCE_SECONDS)
        if output is None:
            raise TooMuch
        found: T = pickle.loads(output)  # noqa: S301 - written by this very program
        return found


def answer_to(question: Question) -> Answer:
    """In bounds of time and memory; for the main thread of a process."""
    begun = time.process_time()
    try:
        with bounded(CPU_SECONDS, MEMORY_BYTES):
            found = plan(question.program, question.state, question.values, question.busy)
    except OutOfTime as late:
        found = too_long(late.node)
    except MemoryError:
        found = too_much()
    program = question.program
    seconds = time.process_time() - begun
    return Answer(plan=found, lists=program.lists, waits_for=program.waits_for, seconds=seconds)


if __name__ == "__main__":
    os.nice(NICENESS)
    function, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by the executor that started this
    sys.stdout.buffer.write(pickle.dumps(function(*arguments)))
