"""Two gateways as processes over one log and one database, and viewers of what runs there."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from shared.artifacts import Artifacts
from tests.support.gateway import Database, Person
from tests.support.gateway_process import GatewayProcess
from tests.support.viewer import Resume, Viewer
from tests.support.world import World, world


@dataclass
class Field:
    """Everything as processes of its own, but for the servers' clients."""

    world: World
    database: Database
    gateways: Sequence[GatewayProcess]
    person: Person

    @property
    def urls(self) -> list[str]:
        return [gateway.url for gateway in self.gateways]

    def client(self, number: int = 0) -> httpx.AsyncClient:
        headers = self.person.headers
        return httpx.AsyncClient(base_url=self.gateways[number].url, headers=headers, timeout=60)

    async def start(self, engine: dict[str, Any]) -> str:
        async with self.client() as client:
            stored = await client.put(f"/v1/engines/{engine['id']}", json=engine)
            assert stored.is_success, stored.text
            answer = await client.post("/v1/executions", json={"engine": engine["id"], "input": {}})
            assert answer.status_code == 202, answer.text
            return str(answer.json()["id"])

    def viewers(self, key: str, count: int, **options: Any) -> list[Viewer]:
        """Half of them resume by header and half by query; each begins at another gateway."""
        resumes: tuple[Resume, Resume] = ("header", "query")
        return [
            Viewer(
                urls=self.urls,
                key=self.person.key,
                execution_id=key,
                seed=seed,
                resume=resumes[seed // 2 % 2],
                **options,
            )
            for seed in range(count)
        ]

    async def check(self, viewers: Sequence[Viewer]) -> None:
        """What each has put together is every node's text in the log, and the output."""
        key = viewers[0].execution_id
        state = await self.world.state(key)
        artifacts = Artifacts(self.world.nc)
        texts = {
            node.id: await artifacts.get_text(node.output) for node in state.nodes.values() if node.output
        }
        texts |= {part.node: await artifacts.get_text(part.output) for part in state.partials}
        async with self.client() as client:
            output = (
                await client.get(f"/v1/executions/{key}/output", headers={"Accept": "text/plain"})
            ).content
        for viewer in viewers:
            seen = {node: text.encode() for node, (_, text) in viewer.texts.items() if text}
            assert seen == {node: text.encode() for node, text in texts.items() if text}
            assert viewer.end is not None
            assert viewer.end["status"] == state.status
            if state.output is not None:
                assert viewer.texts[state.output][1].encode() == output


@asynccontextmanager
async def playing(folder: Path, postgres: Database, **settings: str) -> AsyncIterator[Field]:
    async with world(folder, {"ack_wait_seconds": 5.0}) as here:
        logs = [folder / f"gateway-{number}.log" for number in range(2)]
        gateways = [GatewayProcess(here.server, postgres, log, **settings) for log in logs]
        try:
            for gateway in gateways:
                await gateway.ready()
            yield Field(here, postgres, gateways, postgres.people["ada"])
        finally:
            await asyncio.gather(*(gateway.ended(signal.SIGKILL) for gateway in gateways))
