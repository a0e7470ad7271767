"""Whether answers follow their schemas: found out here, or apart when that takes longer than everybody else can wait.

A schema is the program of a user: its patterns may search for years, and it may refer to itself in ways that double with
every level of the answer.
"""

from collections.abc import Mapping
from typing import Any

from services.executor.apart import CPU_SECONDS, Apart, TooMuch
from services.executor.bounds import MEMORY_BYTES, OutOfTime, bounded
from shared.schemas import answer_fault

HERE_SECONDS = 0.02
"""Of CPU time; meanwhile every other execution of this process waits, its stop included."""
TOO_MUCH = f"to check it takes more than {CPU_SECONDS:g} s or {MEMORY_BYTES >> 20} MiB"


class SchemaChecks:
    """One for the process that runs executions."""

    def __init__(self, apart: Apart) -> None:
        self._apart = apart

    async def fault(self, text: str, schema: Mapping[str, Any]) -> str | None:
        """Why the text does not follow the schema; None when it does. Cancelling it ends the process."""
        try:
            with bounded(HERE_SECONDS, MEMORY_BYTES):
                return answer_fault(text, schema)
        except (OutOfTime, MemoryError):
            pass
        try:
            return await self._apart.run(fault_apart, text, dict(schema))
        except TooMuch:
            return TOO_MUCH


def fault_apart(text: str, schema: Mapping[str, Any]) -> str | None:
    """For the main thread of a process."""
    try:
        with bounded(CPU_SECONDS, MEMORY_BYTES):
            return answer_fault(text, schema)
    except (OutOfTime, MemoryError):
        return TOO_MUCH
