"""One round after the other: gather facts, reap, finish what a crash left, prune. Only by the leader."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from services.janitor.facts import Facts
from services.janitor.leader import Leadership
from services.janitor.prune import Pruner
from services.janitor.reap import Reaper
from services.janitor.settings import JanitorSettings
from shared import telemetry
from shared.errors import Retryable
from shared.logs import get_logger

TOMBSTONES_PER_ROUND = 5_000

_log = get_logger(__name__)


class Rounds:
    def __init__(
        self,
        *,
        settings: JanitorSettings,
        leadership: Leadership,
        gather: Callable[[], Awaitable[Facts]],
        pruner: Pruner,
        reaper: Reaper,
    ) -> None:
        self._settings = settings
        self._leadership = leadership
        self._gather = gather
        self._pruner = pruner
        self._reaper = reaper
        self.failure: str | None = None
        """Why the last round could not be finished; None when it was, or when another janitor leads."""

    async def run(self) -> None:
        """Until cancelled. Raises: Permanent."""
        interval = self._settings.janitor_interval_seconds
        while True:
            begun = time.monotonic()
            self._leadership.changed.clear()
            if self._leadership.holds():
                await self._try()
            else:
                self.failure = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, begun + interval - time.monotonic())):
                    await self._leadership.changed.wait()

    async def _try(self) -> None:
        try:
            await self.once()
        except Retryable as error:
            if self.failure is None:
                _log.warning("the round was not finished", reason=str(error))
            self.failure = str(error)
        else:
            self.failure = None

    async def once(self) -> None:
        """Raises: Unavailable; Permanent, when the topology is not there."""
        with telemetry.span("janitor round"):
            facts = await self._gather()
            reaped = await self._reaper.round(facts)
            finished = await self._pruner.finish(at_most=TOMBSTONES_PER_ROUND)
            settings = self._settings
            pruned = await self._pruner.round(
                facts, at_most=settings.prunes_per_round(), per_second=settings.prune_per_second
            )
        if reaped or finished or pruned:
            _log.info("round", reaped=reaped, finished=finished, pruned=pruned)
