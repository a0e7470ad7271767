"""The same steps without our code: what NATS, the socket and the event loop cost by themselves."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import httpx
import httpx2
import nats
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

from shared.ids import new_id

STREAM = "BENCH"
BODY = b'{"contents":[{"parts":[{"text":"[[standin words=5]]"}]}]}'
HEADERS = {"x-goog-api-key": "stand-in", "content-type": "application/json"}


async def first_call(nats_url: str, standin_url: str, count: int) -> list[float]:
    """Milliseconds from a stored message to the model call, through one bare consumer and one bare HTTP client."""
    nc = await nats.connect(nats_url)
    js = nc.jetstream()
    await js.add_stream(StreamConfig(name=STREAM, subjects=["bench.>"]))
    sub = await js.pull_subscribe(
        "bench.>", durable="bench", config=ConsumerConfig(ack_policy=AckPolicy.EXPLICIT)
    )
    url = f"{standin_url}/v1beta/models/flash:streamGenerateContent?alt=sse"
    sent: list[int] = []
    async with httpx2.AsyncClient(timeout=30) as client:
        for number in range(count):
            fetch = asyncio.ensure_future(sub.fetch(1, timeout=10))
            await asyncio.sleep(0.02)
            sent.append(time.time_ns())
            await js.publish(f"bench.{number}", b"x")
            (message,) = await fetch
            body = BODY.replace(b"words=5", f"words=5 id=floor{number}".encode())
            await client.post(url, content=body, headers=HEADERS)
            await message.ack()
    await js.delete_stream(STREAM)
    await nc.close()
    received = {
        call["options"].get("id"): call["received_ns"] for call in await _ledger(standin_url, "id=floor")
    }
    return [(received[f"floor{number}"] - at) / 1e6 for number, at in enumerate(sent)]


async def close(standin_url: str, count: int) -> list[float]:
    """Milliseconds from cancelling a task that reads a stream to the stand-in seeing the socket closed."""
    url = f"{standin_url}/v1beta/models/flash:streamGenerateContent?alt=sse"
    asked: list[int] = []
    async with httpx2.AsyncClient(timeout=30) as client:

        async def read(number: int, begun: asyncio.Event) -> None:
            body = BODY.replace(b"words=5", f"chunk_ms=50 chunks=100 id=close{number}".encode())
            async with client.stream("POST", url, content=body, headers=HEADERS) as stream:
                async for _ in stream.aiter_lines():
                    begun.set()

        for number in range(count):
            begun = asyncio.Event()
            task = asyncio.ensure_future(read(number, begun))
            await begun.wait()
            asked.append(time.time_ns())
            task.cancel()
            await asyncio.wait([task])
    closed = {call["options"].get("id"): call["closed_ns"] for call in await _ledger(standin_url, "id=close")}
    return [(closed[f"close{number}"] - at) / 1e6 for number, at in enumerate(asked)]


async def appends(nats_url: str, count: int, width: int) -> float:
    """Executions a second: four guarded appends each, fetched and acknowledged, with nothing else."""
    nc = await nats.connect(nats_url)
    js = nc.jetstream()
    await js.add_stream(StreamConfig(name=STREAM, subjects=["bench.>"]))
    sub = await js.pull_subscribe(
        "bench.*.0",
        durable="bench",
        config=ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, max_ack_pending=10_000),
    )
    queue: asyncio.Queue[Any] = asyncio.Queue()

    async def feed(keys: Sequence[str]) -> None:
        for key in keys:
            await js.publish(f"bench.{key}.0", b"x" * 600, headers=_guard(key, 0))

    async def take() -> None:
        for _ in range(count // 100):
            for message in await sub.fetch(100, timeout=30):
                queue.put_nowait(message)

    async def work() -> None:
        while True:
            message = await queue.get()
            key, last = message.subject.split(".")[1], message.metadata.sequence.stream
            for step in (1, 2, 3):
                last = (await js.publish(f"bench.{key}.{step}", b"x" * 400, headers=_guard(key, last))).seq
            await message.ack()
            queue.task_done()

    keys = [new_id() for _ in range(count)]
    workers = [asyncio.ensure_future(work()) for _ in range(width)]
    began = time.perf_counter()
    await asyncio.gather(*(feed(keys[start::width]) for start in range(width)), take())
    await queue.join()
    seconds = time.perf_counter() - began
    for worker in workers:
        worker.cancel()
    await js.delete_stream(STREAM)
    await nc.close()
    return count / seconds


def _guard(key: str, last: int) -> dict[str, str]:
    return {
        "Nats-Expected-Last-Subject-Sequence": str(last),
        "Nats-Expected-Last-Subject-Sequence-Subject": f"bench.{key}.>",
    }


async def _ledger(standin_url: str, contains: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=standin_url, timeout=30) as client:
        params: dict[str, Any] = {"contains": contains, "limit": 100_000}
        found: list[dict[str, Any]] = (await client.get("/admin/ledger", params=params)).json()["items"]
        return found
