"""Whether answers follow their schemas: found out here, or apart when that takes longer than everybody else can wait.

A schema is the program of a user: its patterns may search for years, and it may refer to itself in ways that double with
every level of the answer.
"""

from collections.abc import Mapping
from typing import Any

from services.executor.apart import CPU_SECONDS, Apart, TooMuch
from services.executor.bounds import HERE_SECONDS, MEMORY_BYTES, OutOfTime, bounded
from shared.schemas import answer_fault

TOO_MUCH = f"to check it takes more than {CPU_SECONDS:g} s or {MEMORY_BYTES >> 20} MiB"


async def schema_fault(apart: Apart, text: str, schema: Mapping[str, Any]) -> str | None:
    """Why the text does not follow the schema; None when it does. Cancelling it ends the process."""
    try:
        with bounded(HERE_SECONDS, MEMORY_BYTES):
            return answer_fault(text, schema)
    except (OutOfTime, MemoryError):
        pass
    try:
        return await apart.run(fault_apart, text, dict(schema))
    except TooMuch:
        return TOO_MUCH


def fault_apart(text: str, schema: Mapping[str, Any]) -> str | None:
    """For the main thread of a process."""
    try:
        with bounded(CPU_SECONDS, MEMORY_BYTES):
            return answer_fault(text, schema)
    except (OutOfTime, MemoryError):
        return TOO_MUCH
