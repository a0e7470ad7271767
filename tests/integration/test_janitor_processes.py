"""The janitor as it is started: a dry run, and two of them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import httpx
import pytest

from deploy.local.nats_server import NatsServer
from deploy.local.postgres import PostgresServer
from deploy.local.processes import free_port
from services.janitor import sweep
from services.janitor.dry_run import report
from services.janitor.settings import JanitorSettings
from shared import topology
from tests.support.janitor_world import ROOT, World, lost, nats_server, postgres, world

__all__ = ["nats_server", "postgres", "world"]


def janitor(world: World, *arguments: str, **settings: str) -> subprocess.Popen[str]:
    variables = {**os.environ, "NATS_URL": world.nats_url, "DATABASE_URL": world.database_url, **settings}
    command = [sys.executable, "-m", "services.janitor", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True)


async def test_a_dry_run_says_why_and_touches_nothing(world: World) -> None:
    old, kept = await world.ended(), await world.ended()
    await world.count()
    stuck = await lost(world)
    await world.project(kept, kept=True)
    await world.project(stuck)
    process = janitor(world, "--dry-run", "--json", LEKHIKA_RETENTION_HOURS="0.0000001")
    out, _ = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 0
    said = {line["execution_id"]: line for line in map(json.loads, out.splitlines())}
    assert {key: line["action"] for key, line in said.items()} == {
        old: "prune",
        kept: "leave",
        stuck: "requeued",
    }
    assert said[kept]["reason"] == "its owner keeps it"
    assert await world.types(old) == ["requested", "started", "completed"]


async def test_a_dry_run_lists_what_a_sweep_would_delete(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweep, "AGE", timedelta())
    text = await world.parts.artifacts.put_text(await world.ended(), "long" * 20_000)
    assert text.ref is not None
    await world.count()
    settings = {"NATS_URL": world.nats_url, "DATABASE_URL": world.database_url}
    for as_json in (True, False):
        await report(JanitorSettings.model_validate(settings), as_json=as_json)
    as_json_line, as_text = capsys.readouterr().out.splitlines()
    reason = "no event names this artifact"
    name = text.ref.artifact
    assert json.loads(as_json_line) == {"artifact": name, "action": "delete", "reason": reason}
    assert as_text.split(maxsplit=2) == ["delete", name, reason]
    assert await world.parts.artifacts.get_text(text)


@pytest.mark.fault
async def test_two_processes_one_leads_and_the_other_takes_over(world: World) -> None:
    quick = {"LEKHIKA_RETENTION_HOURS": "0.0001", "LEKHIKA_JANITOR_INTERVAL_SECONDS": "0.3"}
    ports = [free_port(), free_port()]
    pair = [janitor(world, LEKHIKA_HTTP_PORT=str(port), **quick) for port in ports]
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            roles = [await role(client, port) for port in ports]
            assert sorted(roles) == ["leader", "standing by"]
            first, second = (await world.ended(), await world.ended())
            await world.count()
            await world.project(second)
            await until_pruned(world, first)
            await until_pruned(world, second)
            leader = roles.index("leader")
            pair[leader].send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(pair[leader].wait, 10) == 0
            third = await world.ended()
            await world.count()
            await until_pruned(world, third)
            assert await role(client, ports[1 - leader]) == "leader"
    finally:
        for process in pair:
            process.terminate()
            await asyncio.to_thread(process.communicate, timeout=10)
    assert [process.returncode for process in pair] == [0, 0]


@pytest.mark.fault
async def test_goes_on_after_nats_and_postgres_were_away(
    world: World, nats_server: NatsServer, postgres: PostgresServer
) -> None:
    port = free_port()
    quick = {"LEKHIKA_RETENTION_HOURS": "0.0001", "LEKHIKA_JANITOR_INTERVAL_SECONDS": "0.3"}
    process = janitor(world, LEKHIKA_HTTP_PORT=str(port), **quick)
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            assert await role(client, port) == "leader"
            postgres.kill()
            assert "database" in await role(client, port, status=503)
            postgres.start()
            assert await role(client, port) == "leader"
            nats_server.kill()
            await role(client, port, status=503)
            nats_server.start()
            settings = topology.TopologySettings.model_validate({"NATS_URL": nats_server.url})
            await until_connected(world)
            # A server that stops forgets what it had in memory only.
            await topology.ensure(world.nc, settings)
            async with asyncio.timeout(20):
                while await role(client, port) != "leader":  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.05)
        await world.super.dispose()
        execution_id = await world.ended()
        await world.count()
        await until_pruned(world, execution_id)
        assert process.poll() is None
    finally:
        process.terminate()
        await asyncio.to_thread(process.communicate, timeout=10)
    assert process.returncode == 0


async def until_connected(world: World) -> None:
    async with asyncio.timeout(20):
        while not world.nc.is_connected:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


async def role(client: httpx.AsyncClient, port: int, status: int = 200) -> str:
    """Waits until it is ready, or not."""
    deadline = time.monotonic() + 20
    while True:
        try:
            answer = await client.get(f"http://127.0.0.1:{port}/readyz")
        except httpx.TransportError:
            pass
        else:
            if answer.status_code == status:
                return str(answer.json()["detail"])
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def until_pruned(world: World, execution_id: str) -> None:
    async with asyncio.timeout(20):
        while await world.types(execution_id) != ["pruned"]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
