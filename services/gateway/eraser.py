"""Ends the open executions of people whose data is to go, also after a crash between their request and this; and
deletes what requests that had begun before have stored after it.
"""

import asyncio
import contextlib
from typing import TYPE_CHECKING

import nats.errors

from services.gateway import commands, erasure_store
from services.gateway.problems import Problem
from shared.db import Role, transaction
from shared.errors import LekhikaError, Retryable
from shared.logs import get_logger

if TYPE_CHECKING:
    from services.gateway.parts import Parts

EVERY_SECONDS = 10.0
AT_ONCE = 20
BY = "system:erasure"

_log = get_logger(__name__)


class Eraser:
    """One for the process. Several gateways may do the same: a stop twice is a stop."""

    def __init__(self) -> None:
        self._wanted = asyncio.Event()

    def look_now(self) -> None:
        self._wanted.set()

    async def run(self, parts: "Parts") -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_SECONDS):
                    await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._once(parts)
            except (Retryable, nats.errors.Error) as error:
                _log.warning("executions of erased people are not ended yet", reason=str(error))

    async def _once(self, parts: "Parts") -> None:
        """Raises: Unavailable; LogFull; nats.errors.Error."""
        async with transaction(parts.db, role=Role.ADMIN) as connection:
            for user_id in await erasure_store.lately(connection):
                await erasure_store.forget(connection, user_id)
            found = await erasure_store.still_open(connection, AT_ONCE)
        for failure in await asyncio.gather(*(_end(parts, each) for each in found), return_exceptions=True):
            if isinstance(failure, Retryable):
                raise failure
            if isinstance(failure, LekhikaError) and not isinstance(failure, Problem):
                _log.error("an execution of an erased person can not be ended", reason=str(failure))
            elif failure is not None and not isinstance(failure, LekhikaError):
                raise failure
        if len(found) == AT_ONCE:
            self._wanted.set()


async def _end(parts: "Parts", execution_id: str) -> None:
    wanted = commands.Stop(by=BY, reason="the data of its owner is erased", force=True, at_once=True)
    await commands.force(parts, execution_id, wanted)
