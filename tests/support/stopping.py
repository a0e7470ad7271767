"""Stops from outside: executors that run, gateways that are asked, and what must be true after every single stop."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import httpx
import pytest

from shared import events as ev
from shared.execution import ExecutionState
from shared.ids import new_id
from tests.support.gateway import Database, Gateway, running_database, running_gateway
from tests.support.make import MODEL
from tests.support.world import SECONDS, World

FORCE_AFTER = 0.3
"""Seconds after which an owner may force, in these tests."""

PROVIDER_LAG = 0.1
"""The stand-in stamps a call when its process gets to read it, which on a busy machine is later than it was sent."""


class How(StrEnum):
    PLAIN = "plain"
    BY_ADMIN = "forced_by_a_superadmin"
    BY_OWNER = "forced_by_its_owner"


@dataclass
class Stage:
    """A world with gateways over it. Each client of `ada` and of `root` belongs to one gateway."""

    here: World
    gateways: list[Gateway]
    ada: list[httpx.AsyncClient] = field(default_factory=list)
    root: list[httpx.AsyncClient] = field(default_factory=list)

    async def start(self, definition: dict[str, Any], mark: str) -> str:
        """Requests a run of an engine of its own, as a person does; gives the execution's id."""
        engine = {"id": f"e{mark}", "name": "Stopped", **definition}
        put = await self.ada[0].put(f"/v1/engines/{engine['id']}", json=engine)
        assert put.status_code in (200, 201), put.text
        answer = await self.ada[0].post("/v1/executions", json={"engine": engine["id"]})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def stop(self, key: str, how: How = How.PLAIN, by: int = 0) -> httpx.Response:
        """Asks one of the gateways; gives the last answer."""
        path = f"/v1/executions/{key}/stop"
        match how:
            case How.PLAIN:
                return await self.ada[by].post(path, json={"reason": "Enough"})
            case How.BY_ADMIN:
                forced = {"reason": "It has to go"}
                return await self.root[by].post(f"/v1/admin/executions/{key}/force-stop", json=forced)
            case How.BY_OWNER:
                first = await self.ada[by].post(path, json={"reason": "Enough"})
                assert first.status_code in (200, 202), first.text
                while True:
                    answer = await self.ada[by].post(path, json={"force": True})
                    if answer.status_code != 409:
                        return answer

    async def streaming(self, mark: str, count: int = 1) -> None:
        await self.here.ask("/admin/wait", contains=mark, streaming=count, timeout=SECONDS)

    async def stopped(self, key: str, mark: str, how: Collection[str] = ("stopped",)) -> ExecutionState:
        """Waits for the end and checks all that must be true of it, whenever the stop came."""
        state = await self.here.ended(key)
        history = await self.here.history(key)
        assert state.status in how, state.status
        assert state.anomalies == ()
        ends = [r for r in history if isinstance(r.event, ev.TerminalEvent)]
        assert len(ends) == 1
        check_nothing_begun(history)
        await self._check_calls(mark, ends[0].time)
        for client in self.ada:
            answer = await client.get(f"/v1/executions/{key}")
            assert answer.json()["status"] == state.status
            check_shown(answer.json())
        return state

    async def _check_calls(self, mark: str, end: datetime) -> None:
        """The provider's word: every call is over, and none began after the end was stored."""
        calls = await self.here.calls(mark)
        if calls:
            met = await self.here.ask("/admin/wait", contains=mark, closed=len(calls), timeout=SECONDS)
            assert met["met"], "a call stays open"
        calls = await self.here.calls(mark)
        late = [call for call in calls if call["received_ns"] / 1e9 > end.timestamp() + PROVIDER_LAG]
        assert not late, late


def check_nothing_begun(history: Collection[ev.Recorded]) -> None:
    """No node of any attempt begins once a stop is in the log."""
    asked = [r.seq for r in history if isinstance(r.event, ev.StopRequested)]
    begun = [r.seq for r in history if isinstance(r.event, ev.NodeStarted | ev.ExecutionStarted)]
    assert not asked or not begun or begun[-1] < asked[0]


def check_shown(shown: dict[str, Any]) -> None:
    """The times of a stop follow each other, whatever clocks they were measured with."""
    if shown["status"] != "stopped":
        return
    stop = shown["stop"]
    order = [shown["created_at"], stop["at"], stop["heard_at"], stop["closed_at"], shown["ended_at"]]
    known = [datetime.fromisoformat(time) for time in order if time is not None]
    assert known == sorted(known), order


def one_call(mark: str, options: str = "") -> dict[str, Any]:
    node = {"id": "text", "kind": "generate", "model": MODEL, "prompt": f"{mark} [[standin {options}]]"}
    return {"nodes": [node], "output": "text"}


def chain(mark: str, length: int, options: str = "") -> dict[str, Any]:
    """Calls that follow one another."""
    nodes = [
        {
            "id": f"n{number}",
            "kind": "generate",
            "model": MODEL,
            "prompt": f"{mark} {number} {{{{ n{number - 1} }}}} [[standin {options}]]"
            if number
            else f"{mark} [[standin {options}]]",
        }
        for number in range(length)
    ]
    return {"nodes": nodes, "output": f"n{length - 1}"}


def loop(mark: str, items: int, options: str = "", concurrency: int = 8) -> dict[str, Any]:
    """Calls side by side."""
    call = {"kind": "generate", "model": MODEL, "prompt": f"{mark} {{{{ item }}}} [[standin {options}]]"}
    each = {
        "id": "parts",
        "kind": "for_each",
        "items": f"{{{{ {list(range(items))} }}}}",
        "as": "item",
        "concurrency": concurrency,
        "node": call,
    }
    text = {"id": "text", "kind": "template", "template": "{{ parts | join }}"}
    return {"nodes": [each, text], "output": "text"}


def marked() -> str:
    """A word for the prompts of one execution, by which the provider's ledger finds its calls."""
    return new_id()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """For suites that have none."""
    with running_database(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@asynccontextmanager
async def stage(here: World, database: Database, gateways: int = 2, **settings: Any) -> AsyncIterator[Stage]:
    given: dict[str, Any] = {"force_after_seconds": FORCE_AFTER, "now_per_user": 1_000, **settings}
    async with AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(running_gateway(here.server, database, **given))
            for _ in range(gateways)
        ]
        made = Stage(here, running)
        for gateway in running:
            for name, clients in (("ada", made.ada), ("root", made.root)):
                client = gateway.client(database.people[name])
                client.timeout = httpx.Timeout(SECONDS)
                clients.append(await stack.enter_async_context(client))
        yield made


async def all_at_once(*asked: Any) -> list[httpx.Response]:
    return list(await asyncio.gather(*asked))
