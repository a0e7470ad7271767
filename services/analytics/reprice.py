"""`python -m services.analytics.reprice`: the costs of the ledger and the rollups anew from today's price list."""

import argparse
import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.analytics import acts
from services.analytics.maintenance import run_program
from services.analytics.pricing import Cost, PriceList
from services.analytics.ranges import ceiling, floor
from services.analytics.rebuild import ranges, rebuild_range
from services.analytics.statements import SET_COSTS, USED_IN_RANGE
from services.analytics.store import Store
from shared.usage import Certainty, ModelUsage, Tier, Tokens

_KINDS = ("input", "cached", "output", "thoughts", "tool")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`start` inclusive, `end` exclusive, both widened to quarters of an hour; None is no bound."""

    start: datetime | None = None
    end: datetime | None = None
    model: str | None = None
    """This one and its releases."""
    dry_run: bool = False


@dataclass(slots=True)
class Change:
    """Of one model, in the lines that were not right: their cost in USD before and after."""

    lines: int = 0
    before: Decimal = Decimal(0)
    after: Decimal = Decimal(0)


async def reprice(engine: AsyncEngine, wanted: Wanted) -> dict[str, Any]:
    """What was changed, or would be. Raises: Unavailable; what was done by then stays, and is exact."""
    if not wanted.dry_run:
        await acts.record(engine, "usage.reprice", _about(wanted))
    prices = await Store(engine).prices()
    seen, changes = 0, dict[str, Change]()

    async def step(connection: AsyncConnection, start: datetime, end: datetime) -> None:
        nonlocal seen
        values = {"start": start, "end": end, "model": wanted.model}
        rows = (await connection.execute(USED_IN_RANGE, values)).all()
        seen += len(rows)
        wrong = [(row, cost) for row in rows if _differs(row, cost := _cost_of(row, prices))]
        _add_up(changes, wrong)
        if wrong and not wanted.dry_run:
            await connection.execute(SET_COSTS, {"costs": _json(wrong)})
            await rebuild_range(connection, start, end)

    begin = floor(wanted.start) if wanted.start else None
    end = ceiling(wanted.end) if wanted.end else None
    async for _ in ranges(engine, step, begin, end, alone=not wanted.dry_run):
        pass
    return {"dry_run": wanted.dry_run, "lines": seen, "changed": _told(changes)}


def _about(wanted: Wanted) -> dict[str, str | None]:
    return {
        "from": wanted.start.isoformat() if wanted.start else None,
        "to": wanted.end.isoformat() if wanted.end else None,
        "model": wanted.model,
    }


def _cost_of(row: Row[Any], prices: PriceList) -> Cost | None:
    tokens = Tokens(
        **{kind: getattr(row, f"{kind}_tokens") for kind in _KINDS}, certainty=Certainty(row.certainty)
    )
    usage = ModelUsage(
        model=row.model,
        tier=Tier(row.model_type),
        tokens=tokens,
        calls=row.calls,
        long_context=row.long_context,
    )
    return prices.cost(usage, row.ended_at)


def _differs(row: Row[Any], cost: Cost | None) -> bool:
    if cost is None:
        return row.cost is not None
    return bool(row.cost != cost.amount or row.price_version != cost.price_version)


def _add_up(changes: dict[str, Change], wrong: Iterable[tuple[Row[Any], Cost | None]]) -> None:
    for row, cost in wrong:
        change = changes.setdefault(row.model, Change())
        change.lines += 1
        change.before += row.cost or Decimal(0)
        change.after += cost.amount if cost else Decimal(0)


def _json(wrong: Iterable[tuple[Row[Any], Cost | None]]) -> str:
    rows = [
        {
            "execution_id": row.execution_id,
            "line": row.line,
            "cost": cost.amount if cost else None,
            "price_version": cost.price_version if cost else None,
        }
        for row, cost in wrong
    ]
    return orjson.dumps(rows, default=str).decode()


def _told(changes: Mapping[str, Change]) -> list[dict[str, Any]]:
    return [
        {"model": model, "lines": one.lines, "before": f"{one.before:.10f}", "after": f"{one.after:.10f}"}
        for model, one in sorted(changes.items())
    ]


def _time(given: str) -> datetime:
    """Raises: ValueError, for what is no time."""
    time = datetime.fromisoformat(given)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m services.analytics.reprice", description=__doc__)
    parser.add_argument("--from", dest="start", type=_time, help="RFC 3339; UTC without a zone")
    parser.add_argument("--to", dest="end", type=_time, help="RFC 3339, not included")
    parser.add_argument("--model", help="only this one and its releases")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would change")
    given = parser.parse_args(arguments)
    wanted = Wanted(start=given.start, end=given.end, model=given.model, dry_run=given.dry_run)
    return asyncio.run(run_program("reprice", lambda engine: reprice(engine, wanted)))


if __name__ == "__main__":
    sys.exit(main())
