"""`python -m tests.bench.takeover`: executors are killed (-9) under load; how soon does their work go on elsewhere?

Measured from the kill to `started` of the next attempt in the log. A part of the kills comes in pairs: the second hits the
executor that would have judged, so that those judge which have only just begun.
"""

import asyncio
import functools
import os
import signal
import sys
import time

import nats
from nats.aio.msg import Msg

from shared import events as ev
from shared import subjects
from shared.messages import from_copy
from tests.bench.figures import Report
from tests.bench.harness import MODEL, lean, put, run
from tests.support.stack import Stack

KILLS = 10
OPEN = 30
"""Executions that run at the same time."""
RESUMED_SECONDS = 60.0
ENGINE = {
    "id": "takeover-call",
    "name": "Call",
    "inputs": {"text": {"type": "text", "required": True}},
    "nodes": [{"id": "answer", "kind": "generate", "model": MODEL, "prompt": "{{ text }}"}],
    "output": "answer",
}
LONG = "[[standin chunk_ms=1000 chunks=900]]"


class Owners:
    """Who runs what, and when that was stored, as the log's copies tell."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}
        self._since: dict[str, float] = {}
        self._changed = asyncio.Event()

    async def hear(self, msg: Msg) -> None:
        recorded = from_copy(msg)
        if isinstance(recorded.event, ev.ExecutionStarted):
            self.of[recorded.execution_id] = recorded.event.instance
            self._since[recorded.execution_id] = recorded.time.timestamp()
            self._changed.set()

    async def count(self, wanted: int) -> None:
        async with asyncio.timeout(RESUMED_SECONDS):
            while len(self.of) < wanted:
                self._changed.clear()
                await self._changed.wait()

    async def resumed(self, keys: set[str], lost: set[str], died: float) -> list[float]:
        """Waits until none of these belongs to a dead instance; gives the milliseconds since the death."""
        async with asyncio.timeout(RESUMED_SECONDS):
            while any(self.of[key] in lost for key in keys):
                self._changed.clear()
                await self._changed.wait()
        return [(self._since[key] - died) * 1e3 for key in keys]


def executors(stack: Stack) -> dict[str, int]:
    """Process id by instance."""
    return {each["instance"]: each["pid"] for each in stack.services if each["name"] == "executor"}


async def settled(stack: Stack, count: int) -> None:
    """Waits until so many executors are ready."""
    async with stack.client(stack.admin_key) as admin:
        while True:
            items = (await admin.get("/v1/admin/workers")).json()["items"]
            alive = executors(stack)
            if sum(w["id"] in alive and w["state"] == "ready" for w in items) == count:
                return
            await asyncio.sleep(0.2)


async def measure(stack: Stack, report: Report, kills: int = KILLS) -> None:
    async with stack.client() as client:
        await put(client, ENGINE)
    owners = Owners()
    times: dict[str, list[float]] = {"one of two killed": [], "both killed": []}
    nc = await nats.connect(stack.nats_url)
    try:
        await nc.subscribe(subjects.committed("*", "started"), cb=owners.hear)
        await nc.flush()
        async with lean(stack) as gateway:
            for _ in range(OPEN):
                await gateway.post("/v1/executions", {"engine": ENGINE["id"], "input": {"text": LONG}})
        await owners.count(OPEN)
        for number in range(kills):
            await settled(stack, 2)
            await asyncio.sleep(10 if number == 0 else 3)
            kind = list(times)[number % 2]
            times[kind] += await _kill(stack, owners, both=number % 2 == 1)
    finally:
        await nc.close()
    for kind, values in times.items():
        report.spread(f"   {kind}", values)
    report.bounded("kill -9 to going on elsewhere", [v for each in times.values() for v in each], p99=15_000)


async def _kill(stack: Stack, owners: Owners, *, both: bool) -> list[float]:
    alive = executors(stack)
    busy = max(alive, key=lambda instance: sum(owner == instance for owner in owners.of.values()))
    lost = set(alive) if both else {busy}
    keys = {key for key, owner in owners.of.items() if owner in lost}
    died = time.time()
    for instance in lost:
        os.kill(alive[instance], signal.SIGKILL)
    return await owners.resumed(keys, lost, died)


if __name__ == "__main__":
    run(functools.partial(measure, kills=int(sys.argv[1]) if sys.argv[1:] else KILLS))
