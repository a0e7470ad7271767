"""Three NATS servers that form one JetStream cluster, on loopback."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

from deploy.local.nats_server import NatsPorts, NatsServer
from deploy.local.polling import poll_until
from deploy.local.processes import Launch, free_port, spawn
from deploy.local.standin.server import serving
from deploy.local.standin.settings import Settings
from deploy.nats.permissions import ACCESS
from shared import subjects, topology
from shared.errors import LekhikaError
from shared.jetstream import api
from tests.support.waiting import until
from tests.support.world import World

SIZE = 3
REPLICAS = 3


class ClusterServer(NatsServer):
    """One of them: the single server's configuration, and its place in the cluster."""

    def __init__(
        self, folder: Path, name: str, route: int, routes: list[int], passwords: Mapping[str, str]
    ) -> None:
        ports = NatsPorts(client=free_port(), monitor=free_port())
        super().__init__(folder, ports=ports, passwords=passwords)
        self.name = name
        self._route = route
        self._routes = routes

    def launch(self) -> Launch:
        launch = super().launch()
        config = self.folder / "nats.conf"
        routes = ", ".join(f'"nats-route://127.0.0.1:{port}"' for port in self._routes)
        # It tells clients of no address but those that they were given.
        more = f'cluster {{ name: faults, listen: "127.0.0.1:{self._route}", no_advertise: true, routes: [{routes}] }}'
        text = config.read_text().replace(json.dumps("lekhika-local"), json.dumps(self.name))
        config.write_text(f"{text}{more}\n")
        return launch

    def begin(self) -> None:
        """Starts it without waiting: alone it is not ready."""
        self.process = spawn(self.launch())


class Cluster:
    """Servers by name."""

    def __init__(self, folder: Path) -> None:
        routes = [free_port() for _ in range(SIZE)]
        passwords = {user: secrets.token_urlsafe(24) for user in ACCESS}
        names = [f"n{number}" for number in range(SIZE)]
        self.servers = {
            name: ClusterServer(folder / name, name, route, routes, passwords)
            for name, route in zip(names, routes, strict=True)
        }

    @property
    def urls(self) -> list[str]:
        return [server.url for server in self.servers.values()]

    @property
    def url(self) -> str:
        return ",".join(self.urls)

    def url_for(self, user: str) -> str:
        return ",".join(server.url_for(user) for server in self.servers.values())

    def start(self) -> None:
        for server in self.servers.values():
            server.begin()
        assert poll_until(lambda: all(map(_runs, self.servers.values())), seconds=30)

    def stop(self) -> None:
        for server in self.servers.values():
            server.kill()

    async def leader(self, nc: Client, stream: str = subjects.EXECUTIONS) -> str:
        """The name of the server that leads a stream; waits until one does."""

        async def led() -> str:
            with contextlib.suppress(LekhikaError):
                answer: dict[str, Any] = await api(nc, f"STREAM.INFO.{stream}", {}, seconds=2.0)
                return str(answer.get("cluster", {}).get("leader") or "")
            return ""

        return str(await until(led))


def _runs(server: NatsServer) -> bool:
    return server.log.exists() and "Server is ready" in server.log.read_text()


@asynccontextmanager
async def cluster_world(folder: Path, **topology_settings: Any) -> AsyncIterator[tuple[World, Cluster]]:
    """As `world`, over three servers and with three replicas of everything."""
    cluster = Cluster(folder)
    cluster.start()
    nc = await nats.connect(
        cluster.urls, max_reconnect_attempts=-1, reconnect_time_wait=0.2, error_cb=_expected
    )
    try:
        settings = topology.TopologySettings(NATS_URL=cluster.urls[0], replicas=REPLICAS, **topology_settings)
        await until(lambda: _ensured(nc, settings), 60, 0.5)
        async with serving(Settings(first_ms=5, chunk_ms=10)) as url:
            made = World(folder, cluster, nc, url)  # type: ignore[arg-type]  # of the server it needs the URL only
            try:
                yield made, cluster
            finally:
                await asyncio.gather(*(each.ended() for each in made.executors))
                await made.aclose()
    finally:
        await nc.close()
        cluster.stop()


async def _ensured(nc: Client, settings: topology.TopologySettings) -> bool:
    """False while the cluster has no leader yet."""
    with contextlib.suppress(LekhikaError):
        await topology.ensure(nc, settings)
        return not await topology.missing(nc)
    return False


async def _expected(_: Exception) -> None:
    """Servers are killed on purpose."""
