"""Planning in a process of its own, for templates that take longer than the event loop can wait.

The program of one user must not delay the stops of others. The process is started for one plan, knows no secret, and
ends with it; a stop ends it at once. `python -m services.executor.apart` is that process.
"""

import asyncio
import os
import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.executor.bounds import OutOfTime, bounded
from services.executor.planner import Plan, Program, plan
from shared.events import ErrorInfo
from shared.execution import ExecutionState

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

_turns = asyncio.Semaphore(AT_ONCE)


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


def too_much() -> Plan:
    message = (
        f"Its templates take more than {CPU_SECONDS:g} s or {MEMORY_BYTES >> 20} MiB. Make them do less."
    )
    return Plan(error=ErrorInfo(code="template_error", message=message))


async def plan_apart(question: Question) -> Plan:
    """The plan, or one that says why there is none. Cancelling it ends the process."""
    async with _turns:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.executor.apart"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
        )
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                output, _ = await process.communicate(pickle.dumps(question))
        except TimeoutError:
            return too_much()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode != 0:  # the system took it away, most likely for want of memory
        return too_much()
    answer: Answer = pickle.loads(output)  # noqa: S301 - written by this very program
    question.program.lists.update(answer.lists)
    return answer.plan


def answer_to(question: Question) -> Answer:
    """In bounds of time and memory; for the main thread of a process."""
    try:
        with bounded(CPU_SECONDS, MEMORY_BYTES):
            found = plan(question.program, question.state, question.values, question.busy)
    except (OutOfTime, MemoryError):
        found = too_much()
    return Answer(plan=found, lists=question.program.lists)


if __name__ == "__main__":
    os.nice(NICENESS)
    # Under its real name: what is pickled by `__main__` is not what the other side knows.
    from services.executor import apart

    sys.stdout.buffer.write(pickle.dumps(apart.answer_to(pickle.load(sys.stdin.buffer))))  # noqa: S301 - as above
