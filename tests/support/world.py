"""Real parts on free ports: NATS with the topology, the stand-in provider, and executors as processes."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import nats
from nats.aio.client import Client

from deploy.local.nats_server import NatsServer
from deploy.local.processes import free_port
from deploy.local.standin.server import serving
from deploy.local.standin.settings import Settings
from services.executor.app import Executor, models
from services.executor.settings import ExecutorSettings
from shared import deltas, subjects, topology
from shared import events as ev
from shared.errors import Conflict
from shared.execution import ExecutionState
from shared.heartbeat import read_workers
from shared.ids import new_id
from shared.log import ExecutionLog
from shared.nats import connect
from shared.service import Stop
from shared.tasks import cancel_and_wait, spawn
from tests.support.make import folded, requested

SECONDS = 60.0
"""How long a test waits for a fact before it says that it never came."""


class ExecutorProcess:
    """`python -m services.executor`, with its log in a file."""

    def __init__(self, env: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.executor"], env=env, stdout=output, stderr=output
            )

    async def ended(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends the signal and waits for the end; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, SECONDS)


class World:
    """Everything but the database and the gateway; tests append as the gateway would."""

    def __init__(self, folder: Path, server: NatsServer, nc: Client, standin_url: str) -> None:
        self.folder = folder
        self.server = server
        self.nc = nc
        self.log = ExecutionLog(nc)
        self.standin_url = standin_url
        self.executors: list[ExecutorProcess] = []
        self._provider = httpx.AsyncClient(base_url=standin_url, timeout=SECONDS, trust_env=False)

    async def aclose(self) -> None:
        await self._provider.aclose()
        await asyncio.gather(*(each.ended(signal.SIGKILL) for each in self.executors))

    def executor(self, **settings: str) -> ExecutorProcess:
        env = {
            **os.environ,
            "NATS_URL": self.server.url_for("executor"),
            "GEMINI_API_KEY": "stand-in",
            "GEMINI_BASE_URL": self.standin_url,
            **settings,
        }
        process = ExecutorProcess(env, self.folder / f"executor-{len(self.executors)}.log")
        self.executors.append(process)
        return process

    async def living(self, count: int) -> None:
        """Waits until so many executors have a heartbeat."""
        async with asyncio.timeout(SECONDS):
            while len(await read_workers(self.nc)) != count:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)

    async def request(self, definition: dict[str, Any], **changes: Any) -> str:
        execution_id = new_id()
        await self.log.append(execution_id, requested(definition, **changes), 0)
        return execution_id

    async def history(self, execution_id: str) -> Sequence[ev.Recorded]:
        return await self.log.load(execution_id)

    async def state(self, execution_id: str) -> ExecutionState:
        return folded(await self.history(execution_id))

    async def heard(self, execution_id: str, kind: str, node: str | None = None) -> ev.Recorded:
        """Waits until such an event is in the log."""
        async with asyncio.timeout(SECONDS), self.log.follow(execution_id) as follower:
            found = await follower.catch_up()
            while True:
                for recorded in found:
                    if recorded.event.type == kind and node in (None, getattr(recorded.event, "node", None)):
                        return recorded
                found = await follower.next()

    async def writing(self, execution_id: str, node: str) -> None:
        """Waits until a further piece of this node's text is published."""
        async with asyncio.timeout(SECONDS):
            subscription = await self.nc.subscribe(subjects.deltas(execution_id))
            while True:
                delta = deltas.decode((await subscription.next_msg(timeout=SECONDS)).data)
                if delta is not None and delta.node == node and delta.text:
                    break
            await subscription.unsubscribe()

    async def ended(self, execution_id: str) -> ExecutionState:
        """Waits for the end and gives the state."""
        async with asyncio.timeout(SECONDS), self.log.follow(execution_id) as follower:
            await follower.catch_up()
            while not (state := await self.state(execution_id)).ended:
                await follower.next()
            return state

    async def stop(self, execution_id: str) -> None:
        """Asks for a stop as the gateway does for an execution that has an owner."""
        while True:
            state = await self.state(execution_id)
            try:
                await self.log.append(execution_id, ev.StopRequested(by="tester"), state.last_seq)
            except Conflict:
                continue
            return

    async def ask(self, path: str, **params: Any) -> dict[str, Any]:
        """The stand-in's admin side."""
        answer = await self._provider.get(path, params=params)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    async def calls(self, contains: str) -> list[dict[str, Any]]:
        """The stand-in's ledger: calls whose prompt contains the text, oldest first."""
        items: list[dict[str, Any]] = (await self.ask("/admin/ledger", contains=contains))["items"]
        return items


def _start_standin(port: int, log: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "deploy.local.standin", "--port", str(port), "--first-ms", "5"]
    with log.open("wb") as output:
        return subprocess.Popen([*command, "--chunk-ms", "10"], stdout=output, stderr=output)


@asynccontextmanager
async def standin_process(folder: Path) -> AsyncIterator[str]:
    """The stand-in in a process of its own: its times are true whatever this one is busy with."""
    port = free_port()
    process = _start_standin(port, folder / "standin.log")
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(SECONDS), httpx.AsyncClient(base_url=url, trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    await client.get("/livez")
                    break
        yield url
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


@asynccontextmanager
async def world(
    folder: Path, topology_settings: dict[str, Any] | None = None, *, apart: bool = False
) -> AsyncIterator[World]:
    """`apart`: with the stand-in in a process of its own."""
    server = NatsServer(folder / "nats")
    server.start()
    nc = await nats.connect(server.url)
    try:
        await topology.ensure(nc, topology.TopologySettings(NATS_URL=server.url, **(topology_settings or {})))
        standin = standin_process(folder) if apart else serving(Settings(first_ms=5, chunk_ms=10))
        async with standin as url:
            made = World(folder, server, nc, url)
            try:
                yield made
            finally:
                await made.aclose()
    finally:
        await nc.close()
        server.stop()


@asynccontextmanager
async def executing(here: World) -> AsyncIterator[None]:
    """An executor in this process, so that its patience can be shortened."""
    settings = ExecutorSettings(
        nats_url=here.server.url_for("executor"), gemini_api_key="stand-in", gemini_base_url=here.standin_url
    )
    client = await connect(here.server.url_for("executor"), "tester")
    executor = Executor(settings, client, Stop(), await models(settings))
    intake = spawn(executor.intake.run(), name="intake")
    try:
        yield
    finally:
        await cancel_and_wait(intake)
        await executor.models.aclose()
        await client.close()
