"""One execution run in this process against a log in memory and a provider made by the test."""

import asyncio
from typing import Any

from services.executor.apart import Apart
from services.executor.journal import Journal
from services.executor.nodes.context import CallTimes
from services.executor.parts import Parts
from services.executor.run import ExecutionRun
from services.executor.server_clock import ServerClock
from shared.events import Recorded, TextRef
from shared.execution import ExecutionState
from shared.ids import new_id
from shared.workflow import Limits
from tests.support.make import folded, requested, started
from tests.support.memory_log import MemoryLog

ME = "here"
LONG = 60.0


class Nobody:
    async def publish(self, *_: Any, **__: Any) -> None: ...


class Inline:
    """Small texts only."""

    async def get_body(self, body: Any) -> Any:
        return body

    async def put_text(self, _: str, text: str) -> Any:
        return TextRef(text=text, characters=len(text))

    async def put_partial(self, key: str, text: str, inline: int) -> Any:
        return await self.put_text(key, text)


async def ran(
    provider: Any,
    definition: dict[str, Any],
    times: dict[str, float] | None = None,
    limits: Limits | None = None,
    **parts: Any,
) -> tuple[ExecutionState, list[Recorded]]:
    """How it ends, and its history; without retries that may cost something, unless `parts` say otherwise."""
    log, key = MemoryLog(), new_id()
    await log.append(key, requested(definition, limits=limits or Limits()), 0)
    given: dict[str, Any] = {
        "nc": Nobody(),
        "artifacts": Inline(),
        "provider": provider,
        "times": CallTimes(
            **{"first": LONG, "between": LONG, "whole": LONG, "merge": 0.001, **(times or {})}
        ),
        "clock": ServerClock(),
        "apart": Apart(),
        "retry_budget": 0,
        **parts,
    }
    journal = Journal(log, folded(await log.load(key)), 1, ME)
    await journal.claim(started(instance=ME))
    await asyncio.wait_for(ExecutionRun(Parts(**given), journal).drive(), 10)
    history = list(await log.load(key))
    return folded(history), history
