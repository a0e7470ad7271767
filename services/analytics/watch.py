"""Whether the service can do its work, and how far behind it is: looked up every few seconds."""

import asyncio
from datetime import UTC, datetime

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext
from sqlalchemy.exc import SQLAlchemyError

from services.analytics.intake import READER, Intake
from services.analytics.store import Store
from shared import conventions as names
from shared.errors import Permanent, Unavailable
from shared.events import TERMINAL_TYPES
from shared.subjects import ANALYTICS_CONSUMER, EXECUTIONS, event_subject

SECONDS = 5.0
_NATS = (nats.errors.Error, TimeoutError, OSError)
_MISSING = f"the consumer {ANALYTICS_CONSUMER} is missing: the topology was not created"


async def require_consumer(js: JetStreamContext) -> None:
    """Raises: Permanent, when the topology was not created: the client would make a consumer of its own."""
    try:
        await js.consumer_info(EXECUTIONS, ANALYTICS_CONSUMER)
    except nats.js.errors.NotFoundError:
        raise Permanent(_MISSING) from None
    except _NATS as error:
        raise Unavailable(f"NATS does not answer: {type(error).__name__}") from None


class Watch:
    """`ready` is what was found last."""

    def __init__(self, js: JetStreamContext, store: Store, intake: Intake) -> None:
        self._js = js
        self._store = store
        self._intake = intake
        self._problem: str | None = "starting"
        self.waiting = 0

    def ready(self) -> tuple[bool, str]:
        problem = self._intake.problem or self._problem
        return problem is None, problem or "counting"

    async def run(self) -> None:
        while True:
            self._problem = await self._log_problem() or await self._database_problem()
            await asyncio.sleep(SECONDS)

    async def _database_problem(self) -> str | None:
        try:
            await self._store.ping()
        except (Unavailable, SQLAlchemyError) as error:
            return f"the database can not be read: {error}"
        return None

    async def _log_problem(self) -> str | None:
        try:
            info = await self._js.consumer_info(EXECUTIONS, ANALYTICS_CONSUMER)
            floor = info.ack_floor.stream_seq if info.ack_floor else 0
            self.waiting = (info.num_pending or 0) + (info.num_ack_pending or 0)
            behind = await self._behind(floor) if self.waiting else 0.0
        except nats.js.errors.NotFoundError:
            return _MISSING
        except _NATS as error:
            return f"NATS does not answer: {type(error).__name__}"
        names.POSITION.labels(READER).set(floor)
        names.LAG_EVENTS.labels(READER).set(self.waiting)
        names.LAG_SECONDS.labels(READER).set(behind)
        return None

    async def _behind(self, floor: int) -> float:
        """Seconds since the oldest end after `floor` was stored."""
        times = [time for kind in TERMINAL_TYPES if (time := await self._next(floor, kind)) is not None]
        return (datetime.now(UTC) - min(times)).total_seconds() if times else 0.0

    async def _next(self, floor: int, kind: str) -> datetime | None:
        try:
            found = await self._js.get_msg(
                EXECUTIONS, seq=floor + 1, subject=event_subject("*", kind), next=True
            )
        except nats.js.errors.NotFoundError:
            return None
        return found.time
