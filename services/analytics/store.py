"""Ledger and rollups in Postgres: a batch in one statement, each execution once, whoever repeats it."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import RowMapping, text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.analytics.closed_days import day_differences
from services.analytics.ended import Origin
from services.analytics.pricing import Price, PriceList, TokenKind
from services.analytics.rollup import Entry, Fact, Mark
from services.analytics.statements import COUNT, DIFFERENCES, PRICES, SET_ASIDE
from shared.db import transaction

_FOREIGN_KEY = "23503"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """`reason` is a stable code, `detail` for people."""

    origin: Origin
    reason: str
    detail: str


@dataclass(slots=True, kw_only=True)
class Arrived:
    """An event that can be counted: its place in the log, its body, and its lines."""

    seq: int
    body: bytes
    entry: Entry

    @property
    def origin(self) -> Origin:
        """Made when it is asked for, which is once in millions."""
        mark = self.entry.mark
        return Origin(
            event_id=mark.event_id,
            execution_id=mark.execution_id,
            seq=self.seq,
            time=mark.ended_at,
            body=self.body,
        )


@dataclass(slots=True)
class Counted:
    """What became of a batch. Those neither new nor rejected had been counted before."""

    new: int
    rejects: list[Reject]


class Store:
    """Every method raises Unavailable when the database does not answer; repeating it then is harmless."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def count(self, batch: Sequence[Arrived]) -> Counted:
        """Counts a batch. One that the database refuses is halved until the bad event stands alone.

        What is refused is returned, not stored: see `set_aside`.
        """
        if not batch:
            return Counted(new=0, rejects=[])
        try:
            return Counted(new=await self._count(batch), rejects=[])
        except (IntegrityError, DataError, orjson.JSONEncodeError) as error:
            if len(batch) == 1:
                return Counted(new=0, rejects=[_reject(batch[0], error)])
        middle = len(batch) // 2
        left, right = await self.count(batch[:middle]), await self.count(batch[middle:])
        return Counted(new=left.new + right.new, rejects=left.rejects + right.rejects)

    async def _count(self, batch: Sequence[Arrived]) -> int:
        async with transaction(self._engine) as connection:
            new: int = (await connection.execute(COUNT, _parameters(batch))).scalar_one()
            return new

    async def set_aside(self, rejects: Sequence[Reject]) -> None:
        rows = [
            {
                "event_id": reject.origin.event_id,
                "execution_id": reject.origin.execution_id,
                "stream_seq": reject.origin.seq,
                "ended_at": reject.origin.time,
                "reason": reject.reason,
                "detail": reject.detail.replace("\0", "\\0"),
                "body": reject.origin.body,
            }
            for reject in rejects
        ]
        async with transaction(self._engine) as connection:
            await connection.execute(SET_ASIDE, rows)

    async def prices(self) -> PriceList:
        async with transaction(self._engine) as connection:
            rows = (await connection.execute(PRICES)).all()
        return PriceList(
            Price(
                model=row.model,
                service_tier=row.service_tier,
                kind=TokenKind(row.token_kind),
                threshold=row.threshold,
                valid_from=row.valid_from,
                per_million=row.price_per_million,
                version=row.version,
            )
            for row in rows
        )

    async def ping(self) -> None:
        """Returns when the database answers."""
        async with transaction(self._engine) as connection:
            await connection.execute(text("SELECT 1"))

    async def differences(self) -> Sequence[RowMapping]:
        """Rows of the rollups that are not the sum of the ledger, and sums that have no row; closed days likewise."""
        async with transaction(self._engine) as connection:
            rollups = (await connection.execute(DIFFERENCES)).mappings().all()
            return [*rollups, *await day_differences(connection)]


def _parameters(batch: Sequence[Arrived]) -> dict[str, str]:
    """Marks and facts as JSON. An execution that comes twice in a batch counts as it came first.

    Raises: orjson.JSONEncodeError, for a number over 64 bits or a text that is none.
    """
    entries = {arrived.entry.mark.execution_id: arrived.entry for arrived in reversed(batch)}.values()
    return {
        "marks": _json([entry.mark for entry in entries]),
        "facts": _json([fact for entry in entries for fact in entry.facts]),
    }


def _json(rows: Sequence[Mark | Fact]) -> str:
    """Decimals as text, times without a zone as UTC."""
    return orjson.dumps(rows, default=str, option=orjson.OPT_NAIVE_UTC).decode()


def _reject(arrived: Arrived, error: IntegrityError | DataError | orjson.JSONEncodeError) -> Reject:
    cause = getattr(error, "orig", error)
    state = getattr(cause, "sqlstate", None)
    if state == _FOREIGN_KEY:
        user_id = arrived.entry.mark.user_id
        return Reject(origin=arrived.origin, reason="unknown_user", detail=f"there is no user {user_id}")
    return Reject(origin=arrived.origin, reason="bad_value", detail=str(cause).strip())
