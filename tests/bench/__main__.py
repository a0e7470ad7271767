"""`make bench`: the product's figures beside the bare floor, in one run on one machine, with everything on."""

import asyncio
import time
from collections import defaultdict
from typing import Any
from urllib.parse import urlencode

import httpx
import psutil
import psycopg

from tests.bench import floor
from tests.bench.client import LeanClient
from tests.bench.figures import Report
from tests.bench.harness import MODEL, lean, put, run
from tests.bench.stops import measure as stops_in_every_timing
from tests.support.stack import Stack

LATENCY_RUNS = 300
STOP_RUNS = 300
RATE_RUNS = 6_000
WIDTH = 64


async def engines(client: httpx.AsyncClient) -> None:
    call = {"id": "answer", "kind": "generate", "model": MODEL, "prompt": "{{ text }}"}
    text = {"text": {"type": "text", "required": True}}
    await put(
        client, {"id": "bench-call", "name": "Call", "inputs": text, "nodes": [call], "output": "answer"}
    )
    template = {"id": "greeting", "kind": "template", "template": "hello {{ text }}"}
    await put(
        client,
        {
            "id": "bench-template",
            "name": "Template",
            "inputs": text,
            "nodes": [template],
            "output": "greeting",
        },
    )


async def request(client: LeanClient, engine: str, text: str) -> str:
    answer = await client.post("/v1/executions", {"engine": engine, "input": {"text": text}})
    return str(answer["id"])


async def calls(stack: Stack, contains: str) -> dict[str, dict[str, Any]]:
    """The stand-in's ledger by the option `id`."""
    async with httpx.AsyncClient(base_url=stack.standin_url, timeout=30) as client:
        params: dict[str, Any] = {"contains": contains, "limit": 100_000}
        items = (await client.get("/admin/ledger", params=params)).json()["items"]
    return {call["options"]["id"]: call for call in items}


async def wait(standin: LeanClient, **facts: Any) -> None:
    """Waits until the stand-in has seen so many calls since its ledger was cleared."""
    await standin.get("/admin/wait?" + urlencode({"timeout": 60, **facts}))


def standin(stack: Stack) -> LeanClient:
    return LeanClient(stack.standin_url, "")


async def clear(stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=stack.standin_url) as client:
        await client.delete("/admin/ledger")


async def latency(stack: Stack, report: Report) -> None:
    """From the POST leaving the client to the model call arriving at the provider."""
    sent: dict[str, int] = {}
    await clear(stack)
    async with lean(stack) as client, standin(stack) as provider:
        for number in range(LATENCY_RUNS):
            key = f"lat{number}"
            sent[key] = time.time_ns()
            await request(client, "bench-call", f"[[standin words=5 id={key}]]")
            await wait(provider, closed=number + 1)
    found = await calls(stack, "id=lat")
    ours = [(found[key]["received_ns"] - at) / 1e6 for key, at in sent.items()]
    bare = await floor.first_call(stack.nats_url, stack.standin_url, LATENCY_RUNS)
    report.latency("request to first model call", ours, bare, 5, 20)


async def stops(stack: Stack, report: Report) -> None:
    """From the stop's POST leaving the client to the provider seeing its socket closed."""
    sent: dict[str, int] = {}
    await clear(stack)
    async with lean(stack) as client, standin(stack) as provider:
        for number in range(STOP_RUNS):
            key = f"stop{number}"
            execution = await request(client, "bench-call", f"[[standin chunk_ms=50 chunks=400 id={key}]]")
            await wait(provider, streaming=number + 1)
            sent[key] = time.time_ns()
            await client.post(f"/v1/executions/{execution}/stop")
            await wait(provider, closed=number + 1)
    found = await calls(stack, "id=stop")
    ours = [(found[key]["closed_ns"] - at) / 1e6 for key, at in sent.items()]
    report.latency("stop to socket closed", ours, await floor.close(stack.standin_url, STOP_RUNS), 10, 50)


async def rate(stack: Stack, report: Report) -> None:
    """Template executions a second, from the first POST to the last one counted in the ledger."""
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection:

        async def counted() -> int:
            cursor = await connection.execute("SELECT count(*) FROM usage_ledger WHERE model IS NULL")
            row = await cursor.fetchone()
            return int(row[0]) if row else 0

        before, used = await counted(), cpu_seconds(stack)
        began = time.perf_counter()
        await asyncio.gather(*(some(stack, RATE_RUNS // WIDTH) for _ in range(WIDTH)))
        posted = time.perf_counter() - began
        total = RATE_RUNS // WIDTH * WIDTH
        while await counted() - before < total:  # noqa: ASYNC110 - another process counts
            await asyncio.sleep(0.02)
        seconds = time.perf_counter() - began
    for name, spent in cpu_seconds(stack).items():
        report.plain(f"CPU of {name} for one such execution", f"{(spent - used[name]) / total * 1e3:.2f} ms")
    bare = await floor.appends(stack.nats_url, 6_000, WIDTH)
    report.rate(f"executions of one template node (n={total}), counted", total / seconds, bare, 1_000)
    report.plain("accepted by POST in the same run", f"{total / posted:,.0f}/s")


async def some(stack: Stack, count: int) -> None:
    async with lean(stack) as client:
        for _ in range(count):
            await request(client, "bench-template", "x")


def cpu_seconds(stack: Stack) -> dict[str, float]:
    """CPU time that each part has used so far, its child processes included; replicas together."""
    spent: defaultdict[str, float] = defaultdict(float)
    for name, pid in stack.processes.items():
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            times = each.cpu_times()
            spent[name.rstrip("-0123456789")] += times.user + times.system
    return spent


def memory(stack: Stack, report: Report, when: str) -> None:
    for service in stack.services:
        size = psutil.Process(service["pid"]).memory_info().rss / 1e6
        report.plain(f"memory of {service['name']} {when}", f"{size:.0f} MB")


async def measure(stack: Stack, report: Report) -> None:
    async with stack.client() as client:
        await engines(client)
    async with lean(stack) as warm:
        for _ in range(20):  # what is imported and compiled at its first use is not what is measured
            await request(warm, "bench-call", "[[standin words=5]]")
    memory(stack, report, "idle")
    await latency(stack, report)
    await stops(stack, report)
    await rate(stack, report)


if __name__ == "__main__":
    run(measure, stops_in_every_timing)
