"""From a terminal event to the lines of the ledger. Pure: no clock, no database."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from services.analytics.ended import Ended
from services.analytics.pricing import Cost, PriceList
from shared.errors import Permanent
from shared.ids import is_id
from shared.usage import ModelUsage, merge_usage


class NotCountable(Permanent):
    """The event can be read and yet not be counted. `reason` is a stable code."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


# There are thousands of these a second. Frozen objects take two to three times as long to make, and objects with slots three
# times as long to write as JSON: so none is frozen, and what is written as JSON has no slots.


@dataclass(kw_only=True)
class Mark:
    """Line 0: that the execution has been counted, and how it ended."""

    execution_id: str
    user_id: str
    engine_id: str
    engine_name: str
    ended_at: datetime
    event_id: str
    outcome: str
    kind: str
    attempts: int
    requested_at: datetime
    started_at: datetime | None


@dataclass(kw_only=True)
class Fact:
    """Lines from 1: what one model used in the execution, at one tier and with one certainty."""

    execution_id: str
    line: int
    model: str
    model_type: str
    certainty: str
    long_context: bool
    calls: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    thoughts_tokens: int
    tool_tokens: int
    cost: Decimal | None
    price_version: int | None


@dataclass(slots=True, kw_only=True)
class Entry:
    """All lines of one execution."""

    mark: Mark
    facts: tuple[Fact, ...]


def entry_of(ended: Ended, prices: PriceList) -> Entry:
    """Raises: NotCountable."""
    summary = ended.outcome.summary
    if not is_id(ended.execution_id):
        raise NotCountable("bad_id", f"execution {ended.execution_id!r} is no UUID")
    if not is_id(summary.user_id):
        raise NotCountable("bad_id", f"user {summary.user_id!r} is no UUID")
    mark = Mark(
        execution_id=ended.execution_id,
        user_id=summary.user_id,
        engine_id=summary.engine.id,
        engine_name=summary.engine.name,
        ended_at=ended.time,
        event_id=ended.event_id,
        outcome=ended.outcome.type,
        kind=str(summary.kind),
        attempts=summary.attempt,
        requested_at=summary.requested_at,
        started_at=summary.started_at,
    )
    return Entry(mark=mark, facts=facts_of(ended.execution_id, summary.usage, ended.time, prices))


def facts_of(
    execution_id: str, usage: Iterable[ModelUsage], ended_at: datetime, prices: PriceList
) -> tuple[Fact, ...]:
    """One line for each model, tier and certainty."""
    merged = merge_usage(usage)
    return tuple(
        _fact(execution_id, line, part, prices.cost(part, ended_at))
        for line, part in enumerate(merged, start=1)
    )


def _fact(execution_id: str, line: int, usage: ModelUsage, cost: Cost | None) -> Fact:
    tokens = usage.tokens
    return Fact(
        execution_id=execution_id,
        line=line,
        model=usage.model,
        model_type=str(usage.tier),
        certainty=str(tokens.certainty),
        long_context=usage.long_context,
        calls=usage.calls,
        input_tokens=tokens.input,
        cached_tokens=tokens.cached,
        output_tokens=tokens.output,
        thoughts_tokens=tokens.thoughts,
        tool_tokens=tokens.tool,
        cost=cost.amount if cost else None,
        price_version=cost.price_version if cost else None,
    )
