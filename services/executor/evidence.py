"""What this executor can witness of another: heartbeats, its own and theirs."""

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta

from nats.aio.client import Client

from services.executor.claim import Evidence, enough
from shared.errors import Unavailable
from shared.execution import ExecutionState
from shared.heartbeat import Heartbeat, Seen, read_worker, read_workers
from shared.subjects import HEARTBEAT_TTL_SECONDS

LOOK_SECONDS = 0.9
"""Between two looks at the others. By then each has put another entry."""
SUCCESSIVE = timedelta(seconds=3)
"""Two entries further apart were not put without a gap."""
ASKED = 3
"""How many of the others are asked, the oldest first."""


class Others:
    """For how long heartbeats were accepted without a gap, as older instances say it of theirs.

    A process that has just begun could else judge nobody, and where all are killed again and again, nobody could.
    An entry alone proves nothing: it may have been made up before an outage and have left its sender's buffer after
    it. The one that follows it then says that the run was broken. So two that were stored one after the other count.
    """

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._js = nc.jetstream()
        self._lock = asyncio.Lock()
        self._looked_at = float("-inf")
        self._seen: Mapping[str, Seen] = {}
        self._unbroken: float | None = None

    async def unbroken(self) -> float | None:
        """Seconds; None while nobody can say. Raises: Unavailable."""
        async with self._lock:
            if time.monotonic() - self._looked_at >= LOOK_SECONDS:
                before, self._seen, self._unbroken = self._seen, {}, None
                self._seen = await self._look()
                self._unbroken = attested(before, self._seen)
                self._looked_at = time.monotonic()
            return self._unbroken

    async def _look(self) -> dict[str, Seen]:
        oldest = [str(worker["id"]) for worker in await read_workers(self._nc)][:ASKED]
        found = [(instance, await read_worker(self._js, instance)) for instance in oldest]
        return {instance: seen for instance, seen in found if seen is not None}


def attested(before: Mapping[str, Seen], now: Mapping[str, Seen]) -> float | None:
    """The longest unbroken run, in seconds, that two successive entries of one instance speak of. Pure."""
    runs = [
        seen.worker.get("unbroken_seconds")
        for instance, seen in now.items()
        if instance in before
        and timedelta(0) < seen.time - before[instance].time <= SUCCESSIVE
        and before[instance].worker.get("unbroken_seconds") is not None
    ]
    return max((run for run in runs if run is not None), default=None)


class Witness:
    """Gathers the evidence that a takeover needs."""

    ttl = HEARTBEAT_TTL_SECONDS

    def __init__(self, nc: Client, heartbeat: Heartbeat) -> None:
        self._nc = nc
        self._js = nc.jetstream()
        self._heartbeat = heartbeat
        self._others = Others(nc)

    async def of(self, state: ExecutionState) -> Evidence | None:
        """About the owner of an execution; None when there is no owner or it can not be known."""
        if state.owner is None:
            return None
        try:
            unbroken = await self._unbroken()
            seen = await read_worker(self._js, state.owner)
        except Unavailable:
            return None
        listed = {entry["id"] for entry in seen.worker["executions"]} if seen else set()
        return Evidence(
            heartbeats_unbroken=unbroken,
            owner_since=seen.time if seen else None,
            owner_lists_it=state.id in listed,
        )

    async def nobody_runs(self, execution_id: str) -> bool:
        """Whether it is sure that no executor lists it. Raises: Unavailable."""
        unbroken = await self._unbroken()
        if unbroken is None or unbroken < enough(self.ttl):
            return False
        lists = [worker.get("executions") or () for worker in await read_workers(self._nc)]
        return execution_id not in {entry["id"] for listed in lists for entry in listed}

    async def _unbroken(self) -> float | None:
        """Of our own heartbeats, if that is enough, else of whose is longest. Raises: Unavailable."""
        since = self._heartbeat.unbroken_since()
        own = None if since is None else time.monotonic() - since
        if own is not None and own >= enough(self.ttl):
            return own
        return max(filter(None, (own, await self._others.unbroken())), default=None)
