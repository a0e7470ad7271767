"""How the servers below the services are launched, and how to tell that something is ready."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import httpx

from deploy.local.nats_server import NatsServer, health_url
from deploy.local.postgres import PostgresServer, end_leftover
from deploy.local.processes import Launch
from deploy.local.supervisor import Member, Readiness

Probe = Callable[[int], Awaitable[Readiness | None]]


class Probes:
    """Questions over HTTP to what has just been started."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    def answers(self, url: str) -> Probe:
        """Ready once the URL answers 200, whatever it says."""

        async def probe(pid: int) -> Readiness | None:
            return None if await self._get(url) is None else {}

        return probe

    def ready(self, url: str) -> Probe:
        """Ready once the URL answers 200; its JSON object says which instance this is."""

        async def probe(pid: int) -> Readiness | None:
            answer = await self._get(url)
            if answer is None:
                return None
            content = answer.json()
            return content if isinstance(content, dict) else {}

        return probe

    async def _get(self, url: str) -> httpx.Response | None:
        try:
            answer = await self._http.get(url)
        except httpx.TransportError:
            return None
        return answer if answer.status_code == httpx.codes.OK else None


def nats_member(server: NatsServer, probes: Probes) -> Member:
    return Member(
        name="nats",
        title="NATS server",
        launch=server.launch,
        probe=probes.answers(health_url(server.monitor_url)),
    )


def postgres_member(server: PostgresServer) -> Member:
    def launch() -> Launch:
        end_leftover(server.data)
        return server.launch()

    async def probe(pid: int) -> Readiness | None:
        return {} if server.is_ready(pid) else None

    return Member(name="postgres", title="PostgreSQL", launch=launch, probe=probe, stop_signal=signal.SIGINT)
