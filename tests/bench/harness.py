"""What every benchmark needs: a stack of its own, engines, and a report at the end."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from tests.bench.client import LeanClient
from tests.bench.figures import Report
from tests.support.stack import Stack, up

MODEL = "gemini-3.8-flash"


async def put(client: httpx.AsyncClient, engine: dict[str, Any]) -> None:
    (await client.put(f"/v1/engines/{engine['id']}", json=engine)).raise_for_status()


def lean(stack: Stack) -> LeanClient:
    return LeanClient(stack.gateway_url, stack.user_key)


def run(*measures: Callable[[Stack, Report], Awaitable[None]]) -> None:
    """Starts a stack with two executors, measures, and shows what was found, also when a measure fails."""

    async def all_of_them() -> None:
        for measure in measures:
            await measure(stack, report)

    with tempfile.TemporaryDirectory() as folder:
        stack = up(Path(folder) / "home", LEKHIKA_STANDIN_CHUNK_MS="10")
        report = Report()
        try:
            asyncio.run(all_of_them())
        finally:
            stack.down()
            report.show()
