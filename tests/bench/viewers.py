"""`python -m tests.bench.viewers [COUNT]`: many viewers of one execution, then each of one of its own."""

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import orjson

from shared import deltas, subjects
from shared.deltas import Delta
from tests.bench.figures import Report
from tests.support import make
from tests.support.gateway import running_database
from tests.support.live_field import Field, playing

COUNT = 400
PIECES = 100
EVERY = 0.05
"""Seconds between two pieces of an execution, as a model writes; of many executions, `COUNT` times as rarely."""
ENGINE = {
    "id": "viewed",
    "name": "Viewed",
    "inputs": {},
    "nodes": [{"id": "text", "kind": "generate", "model": make.MODEL, "prompt": "x"}],
    "output": "text",
}


class Reader:
    """One open stream; the time of each piece is in its text."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.open = asyncio.Event()

    async def read(self, field: Field, key: str) -> None:
        url = field.gateways[0].url.removeprefix("http://")
        host, port = url.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"GET /v1/executions/{key}/events HTTP/1.1\r\nHost: {url}\r\nAuthorization: Bearer {field.person.key}\r\n\r\n"
        writer.write(head.encode())
        try:
            while line := await reader.readline():
                if line.startswith(b"event: snapshot"):
                    self.open.set()
                if line.startswith(b'data: {"node"'):
                    now = time.time()
                    self.delays += [now - float(at) for at in orjson.loads(line[6:]).get("text", "").split()]
        finally:
            writer.close()


async def begun(field: Field) -> str:
    key = await field.start(ENGINE)
    for event in (make.started(instance="bench"), make.node_started("text")):
        state = await field.world.state(key)
        await field.world.log.append(key, event, state.last_seq)
    return key


async def write(field: Field, keys: Sequence[str], pieces: int, every: float) -> None:
    offsets = dict.fromkeys(keys, 0)
    for number in range(pieces):
        key = keys[number % len(keys)]
        text = f"{time.time():.6f} "
        piece = Delta(attempt=1, node="text", node_attempt=1, offset=offsets[key], text=text)
        offsets[key] += len(text)
        await field.world.nc.publish(subjects.deltas(key), deltas.encode(piece))
        await asyncio.sleep(every)


async def watched(field: Field, keys: Sequence[str], count: int, what: str, report: Report) -> None:
    gateway = field.gateways[0]
    size = gateway.resident()
    readers = [Reader() for _ in range(count)]
    async with asyncio.TaskGroup() as group:
        began = time.perf_counter()
        tasks = [
            group.create_task(reader.read(field, keys[number % len(keys)]))
            for number, reader in enumerate(readers)
        ]
        await asyncio.gather(*(reader.open.wait() for reader in readers))
        report.plain(f"{what}: until all are open", f"{time.perf_counter() - began:.1f} s")
        used, began = gateway.cpu(), time.perf_counter()
        await asyncio.sleep(5)
        share = (gateway.cpu() - used) / (time.perf_counter() - began)
        report.plain(f"{what}: CPU while nothing comes", f"{share:.0%}")
        for reader in readers:
            reader.delays.clear()  # what was there before they came
        used, began = gateway.cpu(), time.perf_counter()
        await write(
            field, keys, PIECES if len(keys) == 1 else PIECES * 4, EVERY if len(keys) == 1 else EVERY / 4
        )
        spent, passed = gateway.cpu() - used, time.perf_counter() - began
        await asyncio.sleep(1)
        for task in tasks:
            task.cancel()
    delays = [delay * 1e3 for reader in readers for delay in reader.delays]
    report.plain(f"{what}: pieces sent", f"{len(delays):,} in {passed:.1f} s")
    report.plain(f"{what}: CPU while pieces come", f"{spent / passed:.0%}")
    report.plain(f"{what}: memory for each", f"{(gateway.resident() - size) / count / 1e3:.0f} kB")
    report.bounded(f"{what}: from publishing to the viewer", delays, p99=250)


async def measure(count: int, report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder, running_database(Path(folder) / "postgres") as database:
        async with playing(Path(folder), database) as field:
            keys = [await begun(field) for _ in range(count)]
            await watched(field, keys[:1], count, f"{count} viewers of one", report)
            await watched(field, keys, count, f"{count} viewers of {count}", report)


if __name__ == "__main__":
    figures = Report()
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT, figures))
    figures.show()
