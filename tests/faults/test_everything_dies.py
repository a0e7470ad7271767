"""kill -9 of everything at once, the supervisor included, and `lekhika up` again on the same home."""

import contextlib
from pathlib import Path
from typing import Any

import httpx
import nats
import psutil
import psycopg

from shared import subjects
from shared.execution import Status
from shared.log import ExecutionLog
from tests.support.chaos.engines import ENGINES
from tests.support.chaos.log_checks import history_faults, story
from tests.support.make import folded
from tests.support.stack import Stack, up
from tests.support.waiting import until

EXECUTIONS = 24
"""Of one user: eight in the lane `now`, the others wait in his partition."""


async def begin(client: httpx.AsyncClient, number: int) -> str:
    options = "chunk_ms=60 chunks=40"
    answer = await client.post(
        "/v1/executions",
        json={
            "engine": "chain" if number % 2 else "fan",
            "input": {"mark": f"n{number}", "options": options},
        },
        headers={"Idempotency-Key": f"n{number}"},
    )
    assert answer.status_code in (200, 202), answer.text
    return str(answer.json()["id"])


def kill_everything(stack: Stack) -> None:
    """The supervisor last, so that it has no time to start anything again."""
    victims = [psutil.Process(pid) for pid in stack.processes.values()]
    supervisor = psutil.Process(stack.process.pid)
    supervisor.suspend()
    everyone = [supervisor, *victims, *(child for one in victims for child in one.children(recursive=True))]
    for process in everyone:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    stack.process.wait(30)
    psutil.wait_procs(everyone, timeout=30)
    assert stack.process.stdout is not None
    stack.process.stdout.close()


async def outcomes(database_url: str) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor = await connection.execute(
            "SELECT execution_id::text, outcome FROM usage_ledger WHERE line = 0"
        )
        return await cursor.fetchall()


async def test_all_open_executions_finish_after_everything_was_killed_at_once(tmp_path: Path) -> None:
    stack = up(tmp_path / "home")
    try:
        async with stack.client() as client:
            for name in ("chain", "fan"):
                answer = await client.put(f"/v1/engines/{name}", json=ENGINES[name])
                assert answer.status_code in (200, 201), answer.text
            keys = [await begin(client, number) for number in range(EXECUTIONS)]
            nc = await nats.connect(stack.nats_url)
            log = ExecutionLog(nc)

            async def some_are_half_way() -> bool:
                done = await log.latest([subjects.event_subject(key, "node_completed") for key in keys])
                return len(done) >= EXECUTIONS // 3

            await until(some_are_half_way)
            await nc.close()
            stopped = await client.post(f"/v1/executions/{keys[0]}/stop")
            assert stopped.status_code in (200, 202)
        kill_everything(stack)
        stack = up(tmp_path / "home")
        async with stack.client() as client:
            assert await begin(client, 5) == keys[5]  # the same key still names the same execution
        nc = await nats.connect(stack.nats_url)
        log = ExecutionLog(nc)

        async def all_ended() -> bool:
            ends = [
                subjects.event_subject(k, kind) for k in keys for kind in ("completed", "stopped", "failed")
            ]
            return len(await log.latest(ends)) >= len(keys)

        await until(all_ended, 120)
        for key in keys:
            history = await log.load(key)
            assert not list(history_faults(history)), story(history)
            wanted = (Status.STOPPED, Status.COMPLETED) if key == keys[0] else (Status.COMPLETED,)
            assert folded(history).status in wanted, story(history)
        await nc.close()

        async def all_counted() -> bool:
            return {key for key, _ in await outcomes(stack.database_url)} == set(keys)

        await until(all_counted, 90)
        assert len(await outcomes(stack.database_url)) == len(keys)
    finally:
        assert stack.down() == 0
