"""Up to when the rollups have everything: what analytics has not taken in yet tells it."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request
from nats.aio.client import Client

from services.gateway.parts import Parts, get_parts
from shared.errors import Unavailable
from shared.events import TERMINAL_TYPES
from shared.jetstream import api
from shared.messages import parse_time
from shared.subjects import ANALYTICS_CONSUMER, EXECUTIONS, event_subject

REMEMBERED_SECONDS = 1.0
_PATIENCE = 1.0
"""Seconds for an answer of NATS: the usage itself does not need it."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """Every execution that ended before `as_of` is counted. `lag_seconds` is None while nobody can tell."""

    as_of: datetime | None
    lag_seconds: float | None


class Freshness:
    """Asks NATS at most once in `REMEMBERED_SECONDS`."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._found = Fresh(None, None)
        self._asked_at = float("-inf")
        self._turn = asyncio.Lock()

    async def now(self) -> Fresh:
        """To be asked before the figures are read, so that they are no older than it says."""
        async with self._turn:
            if time.monotonic() - self._asked_at >= REMEMBERED_SECONDS:
                try:
                    self._found = await self._ask()
                except Unavailable:
                    self._found = Fresh(self._found.as_of, None)
                self._asked_at = time.monotonic()
            return self._found

    async def _ask(self) -> Fresh:
        asked_at = datetime.now(UTC)
        info = await api(self._nc, f"CONSUMER.INFO.{EXECUTIONS}.{ANALYTICS_CONSUMER}", {}, _PATIENCE)
        if "error" in info:
            raise Unavailable(f"the consumer {ANALYTICS_CONSUMER}: {info['error'].get('description')}")
        # Ends have the server's times, so this must be its time too: clocks differ.
        now = parse_time(info["ts"]) if "ts" in info else asked_at
        if info["num_pending"] + info["num_ack_pending"] == 0:
            return Fresh(now, 0.0)
        oldest = await self._oldest_after(int(info["ack_floor"]["stream_seq"]))
        if oldest is None:
            return Fresh(now, 0.0)
        return Fresh(oldest, max(0.0, (now - oldest).total_seconds()))

    async def _oldest_after(self, floor: int) -> datetime | None:
        """When the first end was stored that lies above what is acknowledged without a gap."""
        asked = (self._next(floor, kind) for kind in TERMINAL_TYPES)
        return min((found for found in await asyncio.gather(*asked) if found is not None), default=None)

    async def _next(self, floor: int, kind: str) -> datetime | None:
        place = {"seq": floor + 1, "next_by_subj": event_subject("*", kind)}
        answer = await api(self._nc, f"STREAM.MSG.GET.{EXECUTIONS}", place, _PATIENCE)
        return parse_time(answer["message"]["time"]) if "message" in answer else None


async def _freshness(request: Request, parts: Annotated[Parts, Depends(get_parts)]) -> Freshness:
    """One for the application, so that it asks NATS once for all callers."""
    state = request.app.state
    if not hasattr(state, "usage_freshness"):
        state.usage_freshness = Freshness(parts.nc)
    found: Freshness = state.usage_freshness
    return found


UsageFreshness = Annotated[Freshness, Depends(_freshness)]
