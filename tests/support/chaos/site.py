"""The whole product out of real parts on free ports, with a link of its own between each service and each server."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import nats
from nats.aio.client import Client
from psycopg.types.json import Json

from deploy.local.nats_server import OPERATOR, NatsServer
from deploy.local.postgres import end_leftover
from deploy.local.processes import Launch, free_port, spawn
from shared.ids import new_id
from shared.tables import SYSTEM_USER_ID
from shared.topology import TopologySettings, ensure
from tests.support.chaos.engines import ENGINES
from tests.support.chaos.fleet import Fleet, Member
from tests.support.chaos.links import Link
from tests.support.chaos.plan import NATS, POSTGRES, SERVICES, USERS, name
from tests.support.gateway import ROOT, Database, Person, add_person, filled
from tests.support.postgres import prepared_server, service_url
from tests.support.waiting import until

RETENTION_SECONDS = 60.0
MARK = "LEKHIKA_CHAOS_RUN"
"""In the environment of every process of a run: by it none is overlooked at the end."""


class ChaosNats(NatsServer):
    """With a second user, who may publish what only the server should: copies of stored events."""

    PRIVILEGED = "chaos"

    def launch(self) -> Launch:
        launch = super().launch()
        config = self.folder / "nats.conf"
        more = (
            f"users: [\n    {{ user: {self.PRIVILEGED}, password: {json.dumps(self._passwords[OPERATOR])} }},"
        )
        config.write_text(config.read_text().replace("users: [", more))
        return launch

    @property
    def privileged_url(self) -> str:
        return f"nats://{self.PRIVILEGED}:{self._passwords[OPERATOR]}@127.0.0.1:{self.ports.client}"


class Site:
    """`outages` are when a server was away (Unix times)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = new_id()
        self.nats = ChaosNats(folder / "nats")
        self.postgres = prepared_server(folder / "postgres")
        self.links: dict[str, Link] = {}
        self.outages: dict[str, list[tuple[float, float]]] = {NATS: [], POSTGRES: []}
        self.people: list[Person] = []
        self.standin_url = ""
        self.http = httpx.AsyncClient(trust_env=False, timeout=10)
        self._server_locks = {NATS: asyncio.Lock(), POSTGRES: asyncio.Lock()}

    fleet: Fleet
    nc: Client
    database: Database
    root: Person

    async def start(self, first: Mapping[str, str]) -> None:
        self.nats.start()
        self.postgres.start()
        self.database = filled(self.postgres)
        self._fill()
        self.nc = await nats.connect(
            self.nats.privileged_url, max_reconnect_attempts=-1, reconnect_time_wait=0.2, error_cb=_quiet
        )
        await ensure(self.nc, TopologySettings(NATS_URL=self.nats.url))
        self._start_standin()
        self.fleet = Fleet({each: await self._member(each) for each in first})
        for member in self.fleet.members.values():
            member.next_kill_at = first[member.name]
            member.start()
        for member in self.fleet.of("gateway"):
            await member.ready()

    def _fill(self) -> None:
        self.root = self.database.people["root"]
        for number in range(USERS):
            person = Person(new_id(), f"lk_chaos-{self.run}-{number}")
            add_person(self.database, f"user{number}", person)
            self.people.append(person)
        for engine_id, engine in ENGINES.items():
            self.database.execute(
                "insert into engines (owner_id, id, name, definition, shared) values (%s, %s, %s, %s, true)",
                SYSTEM_USER_ID,
                engine_id,
                engine["name"],
                Json(engine),
            )

    def _start_standin(self) -> None:
        port = free_port()
        command = [sys.executable, "-m", "deploy.local.standin", "--port", str(port), "--first-ms", "10"]
        self._standin = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, MARK: self.run}, stdout=subprocess.DEVNULL
        )
        self.standin_url = f"http://127.0.0.1:{port}"

    async def _member(self, each: str) -> Member:
        service = each.rpartition("-")[0]
        env = {
            **os.environ,
            MARK: self.run,
            "NATS_URL": self._through(
                await self._link(each, NATS, self.nats.ports.client), self.nats.url_for(service)
            ),
            "LEKHIKA_RETENTION_HOURS": str(RETENTION_SECONDS / 3600),
            "LEKHIKA_JANITOR_INTERVAL_SECONDS": "2",
        }
        if service == "executor":
            env |= {"GEMINI_API_KEY": "stand-in", "GEMINI_BASE_URL": self.standin_url, "LEKHIKA_SLOTS": "30"}
        else:
            link = await self._link(each, POSTGRES, self.postgres.port)
            env["DATABASE_URL"] = self._through(link, service_url(self.postgres, service))
        return Member(each, env, self.folder, self.http)

    async def _link(self, each: str, server: str, port: int) -> Link:
        link = Link(f"{each}/{server}", port)
        await link.start()
        self.links[link.name] = link
        return link

    @staticmethod
    def _through(link: Link, url: str) -> str:
        port = urlsplit(url).port
        return url.replace(f":{port}", f":{link.port}")

    # --- the servers ----------------------------------------------------------------------------------------------

    async def kill_server(self, server: str, away: float) -> None:
        """kill -9, and the same server again on the same data."""
        async with self._server_locks[server]:
            began = time.time()
            one = self.nats if server == NATS else self.postgres
            one.kill()
            await asyncio.sleep(away)
            if one is self.postgres:
                end_leftover(self.postgres.data)
            one.process = spawn(one.launch())
            await until(partial(self._is_ready, server))
            self.outages[server].append((began, time.time()))

    async def _is_ready(self, server: str) -> bool:
        if server == POSTGRES:
            assert self.postgres.process is not None
            return self.postgres.is_ready(self.postgres.process.pid)
        with contextlib.suppress(httpx.TransportError):
            answer = await self.http.get(f"{self.nats.monitor_url}/healthz?js-enabled-only=true")
            return answer.status_code == httpx.codes.OK
        return False

    async def ask_standin(self, path: str, **params: Any) -> dict[str, Any]:
        answer = await self.http.get(f"{self.standin_url}{path}", params=params, timeout=60)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    async def close(self) -> None:
        if hasattr(self, "fleet"):
            self.fleet.end_at_once()
        if hasattr(self, "_standin"):
            self._standin.send_signal(signal.SIGTERM)
            self._standin.wait(10)
        if hasattr(self, "nc"):
            await self.nc.close()
        for link in self.links.values():
            await link.close()
        await self.http.aclose()
        self.nats.kill()
        self.postgres.kill()


async def _quiet(_: Exception) -> None:
    """The servers are killed on purpose."""


def everybody() -> list[str]:
    return [name(service, n) for service, count in SERVICES.items() for n in range(1, count + 1)]


@asynccontextmanager
async def site(folder: Path, first: Mapping[str, str] | None = None) -> AsyncIterator[Site]:
    made = Site(folder)
    try:
        await made.start(first if first is not None else dict.fromkeys(everybody(), ""))
        yield made
    finally:
        await made.close()
