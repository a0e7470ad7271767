"""What all answers about usage have in common: parameters, counts, and CSV."""

import csv
import functools
import io
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Header, Query
from pydantic import BaseModel, Field
from sqlalchemy import Row

from services.gateway.resource import rfc3339
from services.gateway.usage_freshness import Fresh
from services.gateway.usage_periods import wrong
from services.gateway.usage_queries import Sums
from shared.csv_cells import harmless
from shared.usage import Certainty

COUNTS = ("input", "cached", "output", "thoughts", "tool", "total")
ENDS = ("completed", "stopped", "failed")
CSV = "text/csv"
CSV_TOO: dict[int | str, dict[str, Any]] = {200: {"content": {CSV: {"schema": {"type": "string"}}}}}
"""For a route's `responses`."""
ZONE = r"^(?:Etc/GMT[+-][0-9]{1,2}|(?:EST5EDT|CST6CDT|MST7MDT|PST8PDT)|[A-Za-z][A-Za-z_]*(?:[/-][A-Za-z][A-Za-z_]*)*)$"
"""Names only: PostgreSQL would also take offsets such as `-99`, which are no place's time."""
HEADERS = {"Cache-Control": "no-store", "Vary": "Accept"}
_TIME = "RFC 3339, or a date; without a zone in `timezone`"
Until = Annotated[str | None, Query(alias="to", description=f"{_TIME}, not included; default: now")]
Zone = Annotated[str, Query(pattern=ZONE, max_length=64, description="IANA name")]
Accept = Annotated[str | None, Header()]


def since(default: str, whole: str) -> Any:
    """The beginning of the period, as a parameter; `default` is how long before its end, from the start of `whole` on."""
    return Query(
        alias="from",
        description=f"{_TIME}; default: {default} before `to`, from the beginning of that {whole} on",
    )


class FreshAnswer(BaseModel):
    """Every execution that ended before `as_of` is counted; `lag_seconds` is null while nobody can tell."""

    as_of: datetime | None
    lag_seconds: float | None


class PeriodAnswer(FreshAnswer):
    """`from` and `to` are those that were asked for, widened to quarters of an hour."""

    timezone: str
    start: datetime = Field(alias="from")
    end: datetime = Field(alias="to")


def period_json(start: datetime, end: datetime, fresh: Fresh, timezone: str) -> dict[str, Any]:
    """What every answer says of its period, and of how fresh its figures are."""
    return {
        "from": rfc3339(start),
        "to": rfc3339(end),
        **fresh_json(fresh),
        "timezone": timezone,
    }


def fresh_json(fresh: Fresh) -> dict[str, Any]:
    return {"as_of": rfc3339(fresh.as_of), "lag_seconds": fresh.lag_seconds}


class TokenCounts(BaseModel):
    """`input` includes `cached`; `total` = input + output + thoughts + tool."""

    input: int
    cached: int
    output: int
    thoughts: int
    tool: int
    total: int
    certainty: Certainty


class Ends(BaseModel):
    completed: int
    stopped: int
    failed: int
    total: int


class EngineName(BaseModel):
    id: str
    name: str


def time_of(field: str, given: str | None) -> datetime | None:
    """Raises: Problem 422. A plus sign that was not escaped arrives as a space."""
    if given is None:
        return None
    try:
        return datetime.fromisoformat(given.replace(" ", "+") if "T" in given else given)
    except ValueError:
        raise wrong(field, "is not a time such as 2026-11-01T00:00:00Z, nor a date") from None


def prefers_csv(accept: str | None) -> bool:
    """Whether CSV is named, and JSON is not named before it."""
    names = [part.partition(";")[0].strip().lower() for part in (accept or "").split(",")]
    return CSV in names and "application/json" not in names[: names.index(CSV)]


def tokens_of(row: Row[Any] | Sums) -> dict[str, Any]:
    """As `TokenCounts`; of sums of nothing, zeros."""
    return counts(
        row.input_tokens or 0,
        row.cached_tokens or 0,
        row.output_tokens or 0,
        row.thoughts_tokens or 0,
        row.tool_tokens or 0,
        row.total_tokens or 0,
        row.estimated_calls or 0,
        row.unknown_calls or 0,
    )


def ends_of(row: Row[Any] | Sums) -> dict[str, int]:
    """As `Ends`; of sums of nothing, zeros."""
    return ends(row.completed or 0, row.stopped or 0, row.failed or 0)


# An answer may have thousands of items, while which the gateway does nothing else: no loops over names, and no names, in these.


def counts(
    input_: int, cached: int, output: int, thoughts: int, tool: int, total: int, estimated: int, unknown: int
) -> dict[str, Any]:
    """As `TokenCounts`. `estimated` and `unknown` are numbers of calls."""
    return {
        "input": input_,
        "cached": cached,
        "output": output,
        "thoughts": thoughts,
        "tool": tool,
        "total": total,
        "certainty": "unknown" if unknown else "estimated" if estimated else "measured",
    }


def ends(completed: int, stopped: int, failed: int) -> dict[str, int]:
    """As `Ends`."""
    return {
        "completed": completed,
        "stopped": stopped,
        "failed": failed,
        "total": completed + stopped + failed,
    }


def figures(
    input_: int,
    cached: int,
    output: int,
    thoughts: int,
    tool: int,
    total: int,
    estimated: int,
    unknown: int,
    completed: int,
    stopped: int,
    failed: int,
) -> dict[str, Any]:
    """Of `Sums`: `tokens` and `executions` of an item."""
    return {
        "tokens": counts(input_, cached, output, thoughts, tool, total, estimated, unknown),
        "executions": ends(completed, stopped, failed),
    }


def start_text(here: str, east: int) -> str:
    """The start of an item's bucket, RFC 3339, with the offset that its zone had then."""
    return here + _offset_text(east)


@functools.lru_cache(maxsize=64)
def _offset_text(east: int) -> str:
    return (
        datetime.fromtimestamp(0, timezone(timedelta(seconds=east))).isoformat()[19:].replace("+00:00", "Z")
    )


def decimal_text(amount: Decimal | None) -> str:
    """Exact, in USD with ten decimals; of nothing, zero."""
    return f"{amount or Decimal(0):.10f}"


def csv_answer(
    name: str, columns: Sequence[str], lines: Iterable[Sequence[Any]]
) -> tuple[str, dict[str, str]]:
    """The text and the headers of a CSV file; every line has the columns of the first."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([[harmless(cell) for cell in line] for line in lines])
    return text.getvalue(), HEADERS | {"Content-Disposition": f'attachment; filename="{name}.csv"'}
