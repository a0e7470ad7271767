"""From events of the log to rows: in order, without gaps, each once, and only then acknowledged."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from services.gateway.audit_projection import Act, stops_of_others
from services.gateway.projection import Row, project
from services.gateway.projection_feed import Item, delivered, log_end, stored_after
from services.gateway.projection_store import RowStore, Superseded
from shared import conventions as names
from shared.errors import Unavailable, UnknownEvent
from shared.events import Recorded
from shared.fault_points import Point, reach
from shared.ids import is_id
from shared.logs import get_logger

READER = "projection"

_log = get_logger(__name__)


class Intake:
    """`position` is the sequence up to which the rows are right; in the database it is the same."""

    def __init__(self, nc: Client, rows: RowStore, position: int) -> None:
        self._nc = nc
        self._rows = rows
        self._turn = asyncio.Lock()
        self._failure: SQLAlchemyError | Superseded | None = None
        self._looked_at = -1
        self.position = position

    async def begin(self) -> None:
        """Takes in what is in the log and not in the rows. Raises: Unavailable; Superseded; SQLAlchemyError."""
        async with self._turn:
            end = await log_end(self._nc)
            if end < self.position:
                _log.error("the log is not the one that was projected: reading it from its start", end=end)
                await self._rows.reset()
                self.position = 0
            await self._catch_up(end)

    async def take(self, messages: Sequence[Msg]) -> None:
        """A batch of the consumer. What can not be taken in now is left to `look`, unacknowledged."""
        async with self._turn:
            if self._failure is not None:
                return
            try:
                await self._take_in([delivered(msg) for msg in messages])
            except Unavailable as error:
                _log.warning("the read model is late", error=str(error))
                return
            except (SQLAlchemyError, Superseded) as error:
                self._failure = error
                return
        with contextlib.suppress(nats.errors.Error):  # delivered again, and then passed over
            for msg in messages:
                await msg.ack()
        waiting = messages[-1].metadata.num_pending
        names.LAG_EVENTS.labels(READER).set(waiting)
        age = (datetime.now(UTC) - messages[-1].metadata.timestamp).total_seconds() if waiting else 0.0
        names.LAG_SECONDS.labels(READER).set(age)

    async def look(self) -> None:
        """To be called now and then: takes in what no delivery has announced since the last call.

        Raises: what made `take` fail; Superseded or SQLAlchemyError, when this is not the projector any more.
        """
        async with self._turn:
            if self._failure is not None:
                raise self._failure
            if self.position == self._looked_at:
                await self._rows.require(self.position)
                with contextlib.suppress(Unavailable):  # without NATS nothing happens that could be missed
                    await self._catch_up(await log_end(self._nc))
            self._looked_at = self.position

    async def _take_in(self, items: Sequence[Item]) -> None:
        fresh = sorted({i.seq: i for i in items if i.seq > self.position}.values(), key=lambda item: item.seq)
        if not fresh:
            return
        if fresh[0].seq == self.position + 1 and fresh[-1].seq == self.position + len(fresh):
            await self._apply(fresh, fresh[-1].seq)
        else:
            await self._catch_up(fresh[-1].seq)

    async def _catch_up(self, end: int) -> None:
        """Reads the log itself up to `end`, the sequence of an event that it has or has had."""
        while self.position < end:
            items = await stored_after(self._nc, self.position)
            await self._apply(items, items[-1].seq if items else end)

    async def _apply(self, items: Sequence[Item], upto: int) -> None:
        events = [recorded for item in items if item.shown and (recorded := read_item(item)) is not None]
        found = await self._rows.read({recorded.execution_id for recorded in events}) if events else {}
        changes = project(events, found)
        acts = stops_of_others(events, found)
        reach(Point.PROJECTOR_READ)
        await self._write(changes.rows, changes.pruned, acts, upto)
        reach(Point.PROJECTOR_COMMITTED)
        self.position = upto
        names.POSITION.labels(READER).set(upto)
        for fault in changes.faults:
            _log.error("an event in the log is not legal", fault=fault)

    async def _write(
        self, rows: Sequence[Row], pruned: Sequence[str], acts: Sequence[Act], upto: int
    ) -> None:
        """Rows that the database refuses are halved until the bad one stands alone, and set aside."""
        try:
            await self._rows.write(rows, pruned, acts, position=self.position, upto=upto)
        except (DataError, IntegrityError) as error:
            if not rows:
                raise
            if len(rows) == 1:
                set_aside(rows[0].id, rows[0].last_seq, str(error.orig))
            else:
                middle = len(rows) // 2
                for half in (rows[:middle], rows[middle:]):
                    await self._write(half, (), (), self.position)
            await self._rows.write((), pruned, acts, position=self.position, upto=upto)


def read_item(item: Item) -> Recorded | None:
    """None for one that can not be shown, which is set aside."""
    if not is_id(item.execution_id):
        set_aside(item.execution_id, item.seq, "its subject has no execution id")
        return None
    try:
        return item.read()
    except UnknownEvent as error:
        set_aside(item.execution_id, item.seq, str(error))
        return None


def set_aside(execution_id: str, seq: int, detail: str) -> None:
    names.SET_ASIDE.labels(READER).inc()
    _log.error(
        "an event can not be shown in lists and was set aside",
        execution_id=execution_id,
        sequence=seq,
        detail=detail,
    )
