"""Ends of executions at given times, counted as the service counts them."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from services.analytics.pricing import PriceList
from services.analytics.store import Store
from shared import events as ev
from shared.ids import new_id
from shared.usage import Certainty, ModelUsage, Tier, Tokens, kind_of
from tests.support.ledger import arrive

FLASH, PRO = "gemini-3.8-flash", "gemini-3.8-pro"


def used(model: str = FLASH, certainty: Certainty = Certainty.MEASURED, output: int = 10) -> ModelUsage:
    tokens = Tokens(input=100, cached=40, output=output, thoughts=5, tool=1, certainty=certainty)
    return ModelUsage(model=model, tier=Tier.PAYG if model == PRO else Tier.INCLUDED, tokens=tokens)


def end(
    user_id: str,
    *usage: ModelUsage,
    outcome: str = "completed",
    engine: str = "e",
    name: str = "Engine",
    started: datetime | None = None,
) -> ev.TerminalEvent:
    now = datetime.now(UTC)
    summary = ev.Summary(
        user_id=user_id,
        engine=ev.EngineRef(id=engine, name=name, version=1),
        kind=kind_of(part.tier for part in usage),
        attempt=1,
        requested_at=now,
        started_at=started or now,
        usage=usage,
    )
    match outcome:
        case "completed":
            return ev.ExecutionCompleted(summary=summary, output="x")
        case "failed":
            return ev.ExecutionFailed(summary=summary, error=ev.ErrorInfo(code="c", message="m"))
        case _:
            return ev.ExecutionStopped(summary=summary, stop=ev.StopInfo(by=user_id, at=now))


async def count(
    analytics: AsyncEngine, ends: Sequence[tuple[datetime, ev.TerminalEvent]], prices: PriceList | None = None
) -> list[str]:
    """What the service does with ends that were stored at these times. Gives their executions."""
    recorded = [
        ev.Recorded(execution_id=new_id(), event=event, seq=9, time=time, after=8, message_id=new_id())
        for time, event in ends
    ]
    assert (await Store(analytics).count(arrive(recorded, prices or PriceList([])))).new == len(ends)
    return [one.execution_id for one in recorded]
