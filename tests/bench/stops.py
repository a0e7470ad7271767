"""A thousand stops at every moment of a run, on two executors: `python -m tests.bench.stops [COUNT] [PER_SECOND]`.

They come at random, so many a second on average, whatever becomes of those before: people do not wait for each other.

Measured from the stop's POST leaving the client to the provider seeing the socket closed; where no call is open, to the
end in the log. Afterwards every history is read: one end each, nothing begun after it.
"""

import asyncio
import functools
import os
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared import events as ev
from shared import subjects
from shared.execution import fold
from shared.ids import new_id
from shared.log import ExecutionLog
from tests.bench import floor
from tests.bench.client import LeanClient
from tests.bench.figures import Report
from tests.bench.harness import MODEL, lean, put, run
from tests.support.stack import Stack

STOPS = 1_000
PER_SECOND = 3.0
"""At which two cores, shared by all there is, are about half busy. With more the figure becomes that of a queue."""
WARM_UP = 60
LONG = "chunk_ms=150 chunks=80"
SHORT = "first_ms=20 chunks=1 words=3"
END_SECONDS = 30.0
CALL, LOOP, CHAIN = "stops-call", "stops-loop", "stops-chain"


class Heard:
    """What was stored and written, as the bench hears it."""

    def __init__(self) -> None:
        self._facts: dict[tuple[str, str], int] = {}
        self._awaited: dict[tuple[str, str], asyncio.Event] = {}

    async def hear(self, msg: Msg) -> None:
        tokens = msg.subject.split(".")
        kind = "text" if tokens[0] == "deltas" else tokens[3]
        self.note(subjects.execution_of(msg.subject), "ended" if kind in ev.TERMINAL_TYPES else kind)

    def note(self, key: str, fact: str) -> None:
        self._facts[key, fact] = self._facts.get((key, fact), 0) + 1
        if (key, fact) in self._awaited:
            self._awaited[key, fact].set()

    async def fact(self, key: str, fact: str, count: int = 1) -> None:
        """Raises: TimeoutError."""
        async with asyncio.timeout(END_SECONDS):
            while self._facts.get((key, fact), 0) < count:
                changed = self._awaited[key, fact] = asyncio.Event()
                await changed.wait()


async def _at_once(heard: Heard, key: str) -> None:
    return None


async def _text(heard: Heard, key: str) -> None:
    """In the middle of a stream, somewhen in its first seconds."""
    await heard.fact(key, "text")
    await asyncio.sleep(8 * random.random())


async def _before_text(heard: Heard, key: str) -> None:
    await heard.fact(key, "node_started")
    await asyncio.sleep(0.02 + 8 * random.random())


async def _in_loop(heard: Heard, key: str) -> None:
    await heard.fact(key, "node_started", 5)
    await _text(heard, key)


async def _between(heard: Heard, key: str) -> None:
    await heard.fact(key, "node_completed", random.randint(1, 10))


async def _taken(heard: Heard, key: str) -> None:
    await heard.fact(key, "started")


async def _about_the_end(heard: Heard, key: str) -> None:
    await heard.fact(key, "node_started")
    await asyncio.sleep(0.05 * random.random())


@dataclass(frozen=True, kw_only=True)
class Timing:
    engine: str
    options: str
    moment: Callable[[Heard, str], Awaitable[None]]
    forced: bool = False
    outcomes: tuple[str, ...] = ("stopped",)


TIMINGS = {
    "between chunks": Timing(engine=CALL, options=LONG, moment=_text),
    "between chunks, by force": Timing(engine=CALL, options=LONG, moment=_text, forced=True),
    "before the first chunk": Timing(engine=CALL, options="first_ms=9000 chunks=1", moment=_before_text),
    "in a loop, four calls open": Timing(engine=LOOP, options=LONG, moment=_in_loop),
    "between nodes": Timing(engine=CHAIN, options=SHORT, moment=_between, outcomes=("stopped", "completed")),
    "while it is taken": Timing(engine=CALL, options=LONG, moment=_at_once),
    "just taken": Timing(engine=CALL, options=LONG, moment=_taken),
    "waiting for a retry": Timing(
        engine=CALL, options="fault=status_429 delay_s=60 first_ms=0", moment=_before_text
    ),
    "about its end": Timing(
        engine=CALL, options=SHORT, moment=_about_the_end, outcomes=("stopped", "completed")
    ),
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    key: str
    timing: str
    at_ns: int


async def engines(stack: Stack) -> None:
    text = {"text": {"type": "text", "required": True}}
    call = {"kind": "generate", "model": MODEL, "prompt": "{{ text }}"}
    nodes: dict[str, list[dict[str, Any]]] = {
        CALL: [{"id": "n0", **call}],
        LOOP: [
            {"id": "n0", "kind": "for_each", "items": "{{ [1, 2, 3, 4, 5, 6] }}", "as": "item", "node": call}
        ],
        CHAIN: [{"id": "n0", **call}]
        + [{"id": f"n{n}", **call, "prompt": f"{{{{ text }}}} {{{{ n{n - 1} }}}}"} for n in range(1, 12)],
    }
    async with stack.client() as client:
        for name, each in nodes.items():
            output = each[-1]["id"]
            await put(client, {"id": name, "name": name, "inputs": text, "nodes": each, "output": output})


class Stopper:
    """Starts executions and stops them."""

    def __init__(self, stack: Stack, heard: Heard) -> None:
        self._stack = stack
        self._heard = heard
        self.asked: list[Asked] = []

    async def start(self, client: LeanClient, engine: str, options: str) -> str:
        text = f"[[standin {options} id={new_id()}]]"
        answer = await client.post("/v1/executions", {"engine": engine, "input": {"text": text}})
        return str(answer["id"])

    async def _one(self, name: str) -> None:
        timing = TIMINGS[name]
        key = self._stack.admin_key if timing.forced else self._stack.user_key
        async with lean(self._stack) as client:
            execution = await self.start(client, timing.engine, timing.options)
        await timing.moment(self._heard, execution)
        async with LeanClient(self._stack.gateway_url, key) as client:
            self.asked.append(Asked(key=execution, timing=name, at_ns=time.time_ns()))
            if timing.forced:
                await client.post(f"/v1/admin/executions/{execution}/force-stop", {"reason": "bench"})
            else:
                await client.post(f"/v1/executions/{execution}/stop")
        await self._heard.fact(execution, "ended")

    async def many(self, count: int, per_second: float) -> None:
        names = (list(TIMINGS) * (count // len(TIMINGS) + 1))[:count]
        random.shuffle(names)
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(self._one(name))
                await asyncio.sleep(random.expovariate(per_second))

    async def queued(self, count: int) -> None:
        """While the executors hang: what is stopped was queued, or delivered to one of them and not yet claimed."""
        pids = [each["pid"] for each in self._stack.services if each["name"] == "executor"]
        async with lean(self._stack) as client:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            try:
                for _ in range(count):
                    key = await self.start(client, CALL, LONG)
                    self.asked.append(Asked(key=key, timing="queued", at_ns=time.time_ns()))
                    await client.post(f"/v1/executions/{key}/stop")
            finally:
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)


@dataclass
class Found:
    """What the log and the provider's ledger say afterwards."""

    to_close: dict[str, list[float]]
    """Milliseconds to the last socket closed, of stops that found a call open."""
    to_end: dict[str, list[float]]
    """Milliseconds to the end in the log, of the others."""
    to_store: list[float]
    """Milliseconds to the stop request in the log, of the former."""
    steps: dict[str, list[float]]
    """What the ends themselves say: milliseconds until the executor heard of it, and from there to the socket closed."""
    faults: list[str]


async def judge(nc: Client, stack: Stack, asked: list[Asked]) -> Found:
    log, found = ExecutionLog(nc), Found(defaultdict(list), defaultdict(list), [], defaultdict(list), [])
    calls = defaultdict(list)
    for call in await _ledger(stack):
        calls[call["options"].get("id")].append(call)
    for stop in asked:
        history = await log.load(stop.key)
        first = history[0].event
        assert isinstance(first, ev.ExecutionRequested)
        assert isinstance(first.body, ev.RequestBody)
        mark = str(first.body.input["text"]).partition("id=")[2].rstrip("]")
        _judge_one(found, stop, history, calls[mark])
    return found


def _judge_one(found: Found, stop: Asked, history: Any, calls: list[dict[str, Any]]) -> None:
    state = fold(history)
    assert state is not None
    ends = [r for r in history if isinstance(r.event, ev.TerminalEvent)]
    outcomes = TIMINGS[stop.timing].outcomes if stop.timing in TIMINGS else ("stopped",)
    if len(ends) != 1 or state.anomalies or state.status not in outcomes:
        found.faults.append(f"{stop.timing}: {stop.key} {state.status} {len(ends)} ends {state.anomalies}")
        return
    end_ns = int(ends[0].time.timestamp() * 1e9)
    if any(call["closed_ns"] is None for call in calls):
        found.faults.append(f"{stop.timing}: {stop.key} has a call that is still open")
        return
    if any(call["received_ns"] > end_ns + 500_000_000 for call in calls):
        late = max(call["received_ns"] for call in calls) - end_ns
        found.faults.append(f"{stop.timing}: {stop.key} had a call {late / 1e6:.0f} ms after its end")
    cut = [call["closed_ns"] for call in calls if call["closed_by"] != "server"]
    if cut:
        found.to_close[stop.timing].append((max(cut) - stop.at_ns) / 1e6)
        stored = [r.time.timestamp() * 1e9 for r in history if isinstance(r.event, ev.StopRequested)]
        if state.stop and state.stop.heard_at and state.stop.closed_at:
            heard, closed = state.stop.heard_at, state.stop.closed_at
            found.steps["from there to being heard"].append((heard - state.stop.at).total_seconds() * 1e3)
            found.steps["from there to the socket closed"].append((closed - heard).total_seconds() * 1e3)
        found.to_store.extend((at - stop.at_ns) / 1e6 for at in stored[:1])
    elif end_ns > stop.at_ns:
        found.to_end[stop.timing].append((end_ns - stop.at_ns) / 1e6)


async def _ledger(stack: Stack) -> list[dict[str, Any]]:
    async with LeanClient(stack.standin_url, "") as standin:
        items: list[dict[str, Any]] = (await standin.get("/admin/ledger?limit=100000"))["items"]
        return items


def waits(stack: Stack) -> dict[str, tuple[float, int]]:
    """(Seconds that it was ready to run and had no processor, how often it ran) of each process, by its name."""
    found = {}
    for name, pid in stack.processes.items():
        _, waited, turns = Path(f"/proc/{pid}/schedstat").read_text().split()
        found[name] = (int(waited) / 1e9, int(turns))
    return found


def show_waits(
    report: Report, before: dict[str, tuple[float, int]], after: dict[str, tuple[float, int]]
) -> None:
    """What other programs on this machine add to every step; with enough processors next to nothing."""
    for name in before:
        waited, turns = after[name][0] - before[name][0], after[name][1] - before[name][1]
        report.plain(f"   {name} waited for a processor", f"{waited / max(1, turns) * 1e3:.2f} ms each time")


@asynccontextmanager
async def hearing(nc: Client) -> Any:
    heard = Heard()
    for subject in (subjects.committed(), subjects.deltas("*")):
        await nc.subscribe(subject, cb=heard.hear, pending_msgs_limit=0, pending_bytes_limit=0)
    await nc.flush()
    yield heard


async def measure(stack: Stack, report: Report, count: int = STOPS, per_second: float = PER_SECOND) -> None:
    await engines(stack)
    nc = await nats.connect(stack.nats_url)
    try:
        async with hearing(nc) as heard:
            # what is compiled at its first use is not what is measured
            await Stopper(stack, heard).many(WARM_UP, 2 * per_second)
            stopper, before = Stopper(stack, heard), waits(stack)
            await stopper.many(count - count // 10, per_second)
            show_waits(report, before, waits(stack))
            await stopper.queued(count // 10)
            found = await judge(nc, stack, stopper.asked)
        show(report, found, len(stopper.asked), await floor.close(stack.standin_url, 300))
    finally:
        await nc.close()


def show(report: Report, found: Found, count: int, bare: list[float]) -> None:
    every = [value for values in found.to_close.values() for value in values]
    report.latency("stop to socket closed, in every timing", every, bare, 10, 50)
    report.spread("   of it: to the request in the log", found.to_store)
    for name, values in found.steps.items():
        report.spread(f"   {name}", values)
    for name, values in found.to_close.items():
        report.spread(f"   {name}", values)
    for name, values in found.to_end.items():
        report.spread(f"   {name}, no call open: to its end", values)
    lost = "none lost, one end each" if not found.faults else f"{len(found.faults)} wrong: {found.faults[:5]}"
    report.plain(f"{count:,} stops over all timings", lost)
    assert not found.faults, found.faults


if __name__ == "__main__":
    given: dict[str, Any] = (
        dict(zip(("count", "per_second"), (int(sys.argv[1]), *map(float, sys.argv[2:])), strict=False))
        if sys.argv[1:]
        else {}
    )
    run(functools.partial(measure, **given))
