"""What a round knows before it looks at any execution: how far the readers of the log are, and who lives."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client
from sqlalchemy.ext.asyncio import AsyncEngine

from services.janitor import rows, stream
from services.janitor.policy import Fleet, Marks, Worker
from shared import subjects
from shared.heartbeat import read_worker
from shared.ids import is_id
from shared.jetstream import direct_get
from shared.messages import SUBJECT, TIME, parse_time

INSTANCES = 1024
"""The server answers for no more subjects at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    marks: Marks
    fleet: Fleet

    @property
    def done(self) -> int:
        """The sequence up to which every reader is."""
        return min(self.marks.counted, self.marks.projected or 0)

    @property
    def carried(self) -> frozenset[str]:
        """Executions that some worker says it runs."""
        return frozenset().union(*(worker.executions for worker in self.fleet.values()))


async def gather(nc: Client, db: AsyncEngine) -> Facts:
    """Raises: Unavailable; Permanent, when a consumer is missing."""
    analytics = await stream.consumer(nc, subjects.ANALYTICS_CONSUMER)
    lanes = {
        lane: stream.acknowledged(await stream.consumer(nc, subjects.lane_consumer(lane)))
        for lane in subjects.ALL_LANES
    }
    marks = Marks(
        now=parse_time(analytics["ts"]),
        counted=stream.acknowledged(analytics),
        projected=await rows.projected(db),
        lanes=lanes,
    )
    return Facts(marks=marks, fleet=await fleet(nc))


async def fleet(nc: Client) -> Fleet:
    """The last heartbeat of every instance that has one; a follower that lags may answer.

    Raises: Unavailable.
    """
    request = {"multi_last": [subjects.worker("*", "*")], "batch": INSTANCES}
    found = {}
    async for msg in direct_get(nc, f"KV_{subjects.WORKERS}", request):
        headers = msg.headers or {}
        if msg.data:  # else it marks a deletion or an expiry
            found[headers[SUBJECT].rpartition(".")[2]] = Worker(
                at=parse_time(headers[TIME]), executions=_executions(json.loads(msg.data))
            )
    return found


async def owner(nc: Client, instance: str | None) -> Fleet:
    """The heartbeat of one instance, as the leader has it; empty when it is gone. Raises: Unavailable."""
    seen = None if instance is None else await read_worker(nc.jetstream(), instance)
    if instance is None or seen is None:
        return {}
    return {instance: Worker(at=seen.time, executions=_executions(seen.worker))}


def _executions(worker: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(item["id"] for item in worker["executions"] if is_id(item["id"]))
