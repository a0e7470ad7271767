"""`python -m tests.bench.fairness`: one user fills every slot that he may; how long do the others wait?

The hog queues 10,000 executions of a long model call over HTTP. Of 200 others half are in his partition; each makes
one request, first spread over time, then all at once.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nats
import psycopg

from shared import subjects
from shared.jetstream import api
from tests.bench.client import LeanClient
from tests.bench.figures import Report
from tests.support.crowd import enrol, members
from tests.support.gateway import Person
from tests.support.stack import Stack, up

EXECUTORS = 3
SLOTS = 100
"""Of each executor."""
QUEUED = 10_000
CONNECTIONS = 48
OTHERS = 200
PER_SECOND = 20.0
LONG = "[[standin chunk_ms=5000 chunks=200]]"
SHORT = "[[standin words=5]]"
PARTITION = 5
MODEL = "gemini-3.8-flash"
ENGINE = {
    "id": "fair-call",
    "name": "Call",
    "inputs": {"text": {"type": "text", "required": True}},
    "nodes": [{"id": "answer", "kind": "generate", "model": MODEL, "prompt": "{{ text }}"}],
    "output": "answer",
}

Waits = dict[str, float]
"""Seconds by user."""


async def request(stack: Stack, person: Person, text: str, count: int) -> list[str]:
    async with LeanClient(stack.gateway_url, person.key) as client:
        body = {"engine": ENGINE["id"], "input": {"text": text}}
        return [str((await client.post("/v1/executions", body))["id"]) for _ in range(count)]


async def rows(stack: Stack, query: str, *values: Any) -> list[Any]:
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection:
        return await (await connection.execute(query, values)).fetchall()


async def running(stack: Stack, person: Person) -> int:
    query = "SELECT count(*) FROM executions WHERE user_id = %s AND status = 'running'"
    return int((await rows(stack, query, person.user_id))[0][0])


async def filled(stack: Stack, hog: Person) -> int:
    """Waits until he gets no further slot; gives how many he has."""
    before, same = -1, 0
    while same < 10:
        now = await running(stack, hog)
        before, same = now, same + 1 if now == before else 0
        await asyncio.sleep(0.2)
    return before


async def ask(stack: Stack, person: Person, delay: float) -> tuple[str, float]:
    """The execution, and when the client asked for it."""
    await asyncio.sleep(delay)
    asked = time.time()
    (key,) = await request(stack, person, SHORT, 1)
    return key, asked


async def round_of(stack: Stack, people: Sequence[Person], seconds: float) -> Waits:
    """Each asks once, at a random moment within `seconds`; how long from the request to `started` in the log."""
    numbers = random.Random(1)
    delays = [numbers.uniform(0, seconds) for _ in people]
    asked = dict(await asyncio.gather(*(ask(stack, *each) for each in zip(people, delays, strict=True))))
    query = (
        "SELECT id::text, user_id::text, extract(epoch FROM started_at) FROM executions"
        " WHERE id = ANY(%s::uuid[]) AND ended_at IS NOT NULL"
    )
    while len(found := await rows(stack, query, list(asked))) < len(asked):  # noqa: ASYNC110 - another process runs them
        await asyncio.sleep(0.2)
    return {user: float(started) - asked[key] for key, user, started in found}


def tell(report: Report, what: str, waits: Waits, inside: Sequence[Person]) -> None:
    theirs = {person.user_id for person in inside}
    for where, among in (("his partition", True), ("other partitions", False)):
        values = [wait * 1e3 for user, wait in waits.items() if (user in theirs) is among]
        report.bounded(f"{what}, {where}", values, p99=1_000)


async def acknowledged(stack: Stack, hog: Person, keys: Sequence[str], report: Report) -> None:
    """Stops all of his, the last ones first; then the queue passes over what was stopped while it waited."""
    began = time.perf_counter()
    chunks = [keys[start::CONNECTIONS] for start in range(CONNECTIONS)]

    async def stop(some: Sequence[str]) -> None:
        async with LeanClient(stack.gateway_url, hog.key) as client:
            for key in some:
                await client.post(f"/v1/executions/{key}/stop")

    await asyncio.gather(*(stop(some[::-1]) for some in chunks))
    report.plain("stops of his, waiting ones first", f"{len(keys) / (time.perf_counter() - began):,.0f}/s")
    nc = await nats.connect(stack.nats_url)
    began = time.perf_counter()
    consumer = f"CONSUMER.INFO.{subjects.EXECUTIONS}.{subjects.lane_consumer(f'later.{PARTITION}')}"
    while (left := await api(nc, consumer, {}))["num_pending"] + left["num_ack_pending"]:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    report.plain(
        "until the queue has passed over all that were stopped", f"{time.perf_counter() - began:.1f} s more"
    )
    await nc.close()


async def measure(stack: Stack, report: Report) -> None:
    hog, *inside = members(PARTITION, 1 + OTHERS // 2)
    outside = members(PARTITION, OTHERS // 2, inside=False)
    others = [*inside, *outside]
    await enrol(stack.database_url, [hog, *others])
    async with stack.client(stack.admin_key) as admin:
        engine = {**ENGINE, "shared": True}
        (await admin.put(f"/v1/engines/{ENGINE['id']}", json=engine)).raise_for_status()
    await rows_done(stack)
    await round_of(stack, others[:20], 0.5)  # what is imported at its first use is not what is measured
    quiet = await round_of(stack, others, OTHERS / PER_SECOND)
    tell(report, "alone, 20 a second", quiet, inside)
    tell(report, "alone, all at once", await round_of(stack, others, 0.0), inside)
    began = time.perf_counter()
    many = [request(stack, hog, LONG, QUEUED // CONNECTIONS) for _ in range(CONNECTIONS)]
    keys = [key for some in await asyncio.gather(*many) for key in some]
    report.plain("requests of the hog", f"{len(keys) / (time.perf_counter() - began):,.0f}/s")
    slots = await filled(stack, hog)
    async with LeanClient(
        stack.standin_url, ""
    ) as provider:  # it takes a while to make up so many long texts
        await provider.get(f"/admin/wait?timeout=60&streaming={slots}")
    report.plain("slots that he gets", f"{slots} of {EXECUTORS * SLOTS}")
    tell(
        report,
        "beside the hog, 20 a second",
        await round_of(stack, others, OTHERS / PER_SECOND),
        inside,
    )
    tell(report, "beside the hog, all at once", await round_of(stack, others, 0.0), inside)
    await acknowledged(stack, hog, keys, report)


async def rows_done(stack: Stack) -> None:
    """The engine is everybody's."""
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection:
        await connection.execute("UPDATE engines SET shared = true WHERE id = %s", (ENGINE["id"],))


def run(report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        stack = up(
            home, "--executors", str(EXECUTORS), LEKHIKA_STANDIN_CHUNK_MS="10", LEKHIKA_SLOTS=str(SLOTS)
        )
        try:
            asyncio.run(measure(stack, report))
        finally:
            stack.down()


if __name__ == "__main__":
    figures = Report()
    run(figures)
    figures.show()
