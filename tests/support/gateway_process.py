"""Gateways as processes of their own, which can be killed and come back at the same address."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil

from deploy.local.nats_server import NatsServer
from tests.support.gateway import Database

SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class GatewayProcess:
    """`python -m services.gateway`, with its log in a file."""

    def __init__(self, server: NatsServer, database: Database, log: Path, **settings: str) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._log = log
        self._env = {
            **os.environ,
            "NATS_URL": server.url_for("gateway"),
            "DATABASE_URL": database.url,
            "LEKHIKA_PROVIDER": "stand-in",
            "LEKHIKA_HTTP_PORT": str(self._port),
            **settings,
        }
        self.process = self._spawned()

    def _spawned(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as output:
            command = [sys.executable, "-m", "services.gateway"]
            return subprocess.Popen(command, env=self._env, stdout=output, stderr=output)

    async def ready(self) -> None:
        async with httpx.AsyncClient(base_url=self.url) as client, asyncio.timeout(SECONDS):
            while True:
                try:
                    if (await client.get("/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)

    async def ended(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends the signal and waits for the end; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, SECONDS)

    async def again(self, number: signal.Signals) -> None:
        """Ends it and starts it anew at the same address."""
        await self.ended(number)
        self.process = self._spawned()
        await self.ready()

    async def metric(self, name: str) -> float:
        """The sum of a metric over its labels; 0 while it has none."""
        async with httpx.AsyncClient(base_url=self.url, timeout=SECONDS) as client:
            lines = (await client.get("/metrics")).text.splitlines()
        return sum(
            float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{"))
        )

    def resident(self) -> int:
        """Bytes of memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def cpu(self) -> float:
        """Seconds used so far."""
        times: Any = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)
