"""Keeps the read model of executions behind the log: one process at a time, exactly up to its position."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import nats.errors
from sqlalchemy.exc import SQLAlchemyError

from services.gateway.parts import Parts
from services.gateway.projection_feed import PromptSubscription, Take, build_broker, require_consumer
from services.gateway.projection_intake import READER, Intake
from services.gateway.projection_store import RowStore, sole
from shared import conventions as names
from shared.db import make_engine
from shared.errors import Retryable, Unavailable
from shared.logs import get_logger
from shared.service import Stop

LOOK_SECONDS = 1.0
"""How often the log is asked for what the consumer has not delivered."""
START_SECONDS = 15.0
FIRST_DELAY = 0.25
LONGEST_DELAY = 5.0
"""Seconds between two tries while the database is away."""

_log = get_logger(__name__)


class Projector:
    """Waits for its turn, projects, and begins anew from the stored position after whatever went wrong."""

    def __init__(self, parts: Parts) -> None:
        self._settings = parts.settings
        self._nc = parts.nc

    async def run(self, stop: Stop) -> None:
        """Until `stop`, or until it is cancelled. Raises: Permanent, when the consumer is missing."""
        url = self._settings.database_url.get_secret_value()
        engine = make_engine(url, application="projector", pool_size=1)
        delay = FIRST_DELAY
        try:
            while not stop.is_set():
                try:
                    async with sole(engine) as rows:
                        delay = FIRST_DELAY
                        await self._lead(rows, stop)
                except (Retryable, SQLAlchemyError) as error:
                    _log.warning("the read model waits", error=str(error).splitlines()[0], seconds=delay)
                    await _set_within(stop, delay)
                    delay = min(delay * 2, LONGEST_DELAY)
        finally:
            await engine.dispose()

    async def _lead(self, rows: RowStore, stop: Stop) -> None:
        await require_consumer(self._nc)
        intake = Intake(self._nc, rows, await rows.position())
        try:
            await intake.begin()
            _log.info("projecting", position=intake.position)
            async with self._subscribed(intake.take, stop):
                while not await _set_within(stop, LOOK_SECONDS):
                    await intake.look()
        finally:
            for gauge in (names.POSITION, names.LAG_EVENTS, names.LAG_SECONDS):
                with contextlib.suppress(KeyError):
                    gauge.remove(READER)  # who does not project knows no figure

    @contextlib.asynccontextmanager
    async def _subscribed(self, take: Take, stop: Stop) -> AsyncIterator[None]:
        broker, subscriber = build_broker(self._settings, take, stop.fail)
        try:
            try:
                async with asyncio.timeout(START_SECONDS):
                    await broker.start()
            except (TimeoutError, nats.errors.Error) as error:
                raise Unavailable(f"the projector can not subscribe: {type(error).__name__}") from error
            if subscriber.subscription is not None:
                subscriber.subscription = PromptSubscription(subscriber.subscription)
            yield
        finally:
            await broker.stop()


async def _set_within(stop: Stop, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
    return stop.is_set()
