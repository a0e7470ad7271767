"""A gateway over real NATS and PostgreSQL, and what tests need to play its users and its executors."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import psycopg
from psycopg.types.json import Json

from deploy.local.nats_server import NatsServer
from deploy.local.postgres import PostgresServer
from services.gateway.app import compose, listening
from services.gateway.parts import Parts
from services.gateway.settings import GatewaySettings
from shared import deltas, ending, subjects
from shared import events as ev
from shared.execution import ExecutionState, fold
from shared.ids import new_id
from shared.service import Stop
from shared.tables import SYSTEM_USER_ID
from tests.support import make
from tests.support.postgres import migrated_server, service_url

ROOT = Path(__file__).parents[2]
SECONDS = 20.0
"""How long a test waits for a fact before it says that it never came."""

BOOK: dict[str, Any] = {
    "id": "book",
    "name": "A book",
    "inputs": {"topic": {"type": "text", "required": True}},
    "nodes": [
        {"id": "outline", "kind": "generate", "model": make.MODEL, "prompt": "Plan {{ topic }}"},
        {
            "id": "parts",
            "kind": "for_each",
            "items": "{{ outline.parts }}",
            "as": "part",
            "node": {"kind": "generate", "model": make.MODEL, "prompt": "Write {{ part }}"},
        },
        {"id": "text", "kind": "template", "template": "{{ parts }}"},
    ],
    "output": "text",
}


@dataclass(frozen=True)
class Person:
    user_id: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@dataclass(frozen=True)
class Database:
    """A migrated database, with the models of the first migration, one shared engine `book`, and three people."""

    server: PostgresServer
    people: Mapping[str, Person]

    @property
    def url(self) -> str:
        """For the gateway's login."""
        return service_url(self.server, "gateway")

    def execute(self, query: str, *values: object) -> None:
        """As the superuser."""
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            connection.execute(query, values)


@contextmanager
def running_database(folder: Path) -> Iterator[Database]:
    """Until the end of the block, on a server of its own."""
    with migrated_server(folder) as server:
        yield filled(server)


def filled(server: PostgresServer) -> Database:
    """Adds the engine and the people to a server that runs."""
    database = Database(
        server, {name: Person(new_id(), f"lk_{secrets.token_urlsafe(32)}") for name in ("ada", "ben", "root")}
    )
    for name, person in database.people.items():
        add_person(database, name, person, "superadmin" if name == "root" else "user")
    database.execute(
        "insert into engines (owner_id, id, name, definition, shared) values (%s, %s, %s, %s, true)",
        SYSTEM_USER_ID,
        BOOK["id"],
        BOOK["name"],
        Json(BOOK),
    )
    return database


def add_person(database: Database, name: str, person: Person, role: str = "user") -> None:
    database.execute(
        "insert into users (id, email, display_name, role) values (%s, %s, %s, %s)",
        person.user_id,
        f"{name}-{person.user_id}@example.org",
        name,
        role,
    )
    database.execute(
        "insert into api_keys (id, user_id, prefix, digest, name) values (%s, %s, %s, %s, 'test')",
        new_id(),
        person.user_id,
        person.key[:8],
        hashlib.sha256(person.key.encode()).digest(),
    )


@dataclass(frozen=True)
class Gateway:
    """A running gateway, in this process."""

    parts: Parts
    url: str
    stop: Stop

    def client(self, person: Person | None = None) -> httpx.AsyncClient:
        headers = person.headers if person else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False, timeout=SECONDS)


@asynccontextmanager
async def running_gateway(server: NatsServer, database: Database, **settings: Any) -> AsyncIterator[Gateway]:
    stop = Stop()
    given: dict[str, Any] = {"nats_url": server.url, "database_url": database.url, "provider": "stand-in"}
    async with compose(GatewaySettings(**{**given, **settings}), stop) as parts, listening(parts) as port:
        yield Gateway(parts, f"http://127.0.0.1:{port}", stop)
        stop.set()


class Player:
    """Plays the executor of one execution: appends what it would, and publishes deltas."""

    def __init__(self, parts: Parts, execution_id: str) -> None:
        self._parts = parts
        self.id = execution_id

    async def state(self) -> ExecutionState:
        state = fold(await self._parts.log.load(self.id))
        assert state is not None
        return state

    async def append(self, event: ev.AnyEvent) -> int:
        state = await self.state()
        return await self._parts.log.append(self.id, event, state.last_seq)

    async def claim(self, attempt: int = 1) -> None:
        await self.append(make.started(attempt=attempt, instance="player"))

    async def begin(self, node: str, **changes: Any) -> None:
        await self.append(make.node_started(node).model_copy(update=changes))

    async def complete(self, node: str, text: str, **changes: Any) -> None:
        output = await self._parts.artifacts.put_text(self.id, text)
        await self.append(make.node_completed(node).model_copy(update={**changes, "output": output}))

    async def finish(self, output: str = "text") -> None:
        await self.append(ending.completed(await self.state(), output))

    async def say(
        self, node: str, offset: int, text: str, node_attempt: int = 1, *, used: int | None = None
    ) -> None:
        """Publishes a piece of text; `used` are its output tokens so far."""
        delta = deltas.Delta(
            attempt=1,
            node=node,
            node_attempt=node_attempt,
            offset=offset,
            text=text,
            usage=None if used is None else make.usage(output=used),
        )
        await self._parts.js.publish(subjects.deltas(self.id), deltas.encode(delta), timeout=SECONDS)


class Stream:
    """A viewer of one execution's event stream."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.response = response
        self.texts: dict[str, tuple[int, str]] = {}
        self.events: list[tuple[str, Any]] = []
        self.last_id = ""

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    async def next(self) -> tuple[str, Any]:
        """The next event. Raises: StopAsyncIteration at the end of the stream; TimeoutError."""
        name, data = "", ""
        async with asyncio.timeout(SECONDS):
            async for line in self._lines:
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "id":
                    self.last_id = value
                elif field == "data":
                    data = value
                elif not line and name:
                    return self._seen(name, orjson.loads(data))
        raise StopAsyncIteration

    def _seen(self, name: str, data: Any) -> tuple[str, Any]:
        self.events.append((name, data))
        if name == "delta":
            attempt, text = self.texts.get(data["node"], (0, ""))
            if data["attempt"] > attempt:
                text = ""
            assert data["offset"] == len(text), "neither a gap nor a repeat"
            self.texts[data["node"]] = (data["attempt"], text + data["text"])
        return name, data

    async def until(self, wanted: str) -> Any:
        """Reads up to the first event of that name; gives its data."""
        while True:
            name, data = await self.next()
            if name == wanted:
                return data

    async def text(self, node: str, text: str) -> None:
        """Reads until that node's text is `text`."""
        while self.texts.get(node, (0, ""))[1] != text:
            await self.next()

    async def closed(self) -> None:
        """Reads until the gateway ends the stream."""
        try:
            while True:
                await self.next()
        except StopAsyncIteration:
            return


@asynccontextmanager
async def watching(client: httpx.AsyncClient, execution_id: str, last_id: str = "") -> AsyncIterator[Stream]:
    headers = {"Last-Event-ID": last_id} if last_id else {}
    async with client.stream("GET", f"/v1/executions/{execution_id}/events", headers=headers) as response:
        assert response.status_code == 200
        stream = Stream(response)
        stream.last_id = last_id
        yield stream
