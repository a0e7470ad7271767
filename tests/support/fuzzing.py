"""Schemathesis against a gateway of its own, so that what it makes up stays apart from other tests."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.nats_server import NatsServer
from deploy.local.standin.server import serving
from deploy.local.standin.settings import Settings
from services.gateway.app import create_app
from shared.heartbeat import read_workers
from tests.support.gateway import ROOT, Database, Gateway, running_database, running_gateway
from tests.support.routes import made_by
from tests.support.world import ExecutorProcess

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_headers_conformance", "response_schema_conformance",
)  # fmt: skip
"""No 5xx, and no answer that the OpenAPI document does not describe."""


def endless(document: dict[str, Any]) -> list[str]:
    """Paths that answer with a stream of events: it lasts as long as what it shows, and has tests of its own."""
    return [
        path
        for path, operations in document["paths"].items()
        if "text/event-stream"
        in operations.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
    ]


@dataclass(frozen=True)
class Fuzzed:
    """A gateway with servers and an executor of its own, and things that exist, which requests may name."""

    gateway: Gateway
    key: str
    """Of a superadmin."""
    known: Mapping[str, Sequence[str | int]]
    """Values of path parameters."""


@contextmanager
def _servers(folder: Path) -> Iterator[tuple[NatsServer, Database]]:
    nats = NatsServer(folder / "nats")
    try:
        nats.start()
        ensure = [sys.executable, "-m", "shared.topology"]
        subprocess.run(ensure, cwd=ROOT, env={**os.environ, "NATS_URL": nats.url}, check=True, timeout=60)
        with running_database(folder / "postgres") as database:
            yield nats, database
    finally:
        nats.stop()


@asynccontextmanager
async def fuzzed_gateway(folder: Path) -> AsyncIterator[Fuzzed]:
    with _servers(folder) as (nats, database):
        async with (
            serving(Settings(first_ms=1, chunk_ms=1)) as provider,
            running_gateway(nats, database) as gateway,
            _executing(nats, provider, gateway, folder),
        ):
            root = database.people["root"]
            async with gateway.client(root) as client:
                things = await made_by(client, client, root)
            others = [person.user_id for name, person in database.people.items() if name != "root"]
            known: dict[str, Sequence[str | int]] = {
                **{name: [value] for name, value in things.path.items()},
                "user_id": others,
                "number": [1],
            }
            yield Fuzzed(gateway, root.key, known)


@asynccontextmanager
async def _executing(nats: NatsServer, provider: str, gateway: Gateway, folder: Path) -> AsyncIterator[None]:
    given = {"NATS_URL": nats.url, "GEMINI_API_KEY": "stand-in", "GEMINI_BASE_URL": provider}
    executor = ExecutorProcess({**os.environ, **given}, folder / "executor.log")
    try:
        async with asyncio.timeout(60):
            while not await read_workers(gateway.parts.nc):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
        yield
    finally:
        await executor.ended(signal.SIGTERM)


def _configuration(known: Mapping[str, Sequence[str | int]]) -> str:
    """Every other request names something that exists."""
    places = {name: f"path.{name}" for name in known}
    bound = [(place, name) for name, place in places.items()] + [("body.engine", "engine_id")]
    values = [f"[dictionaries.{name}]\nvalues = {json.dumps(list(each))}" for name, each in known.items()]
    binds = [f'"{place}" = {{ dictionary = "{name}", probability = 0.5 }}' for place, name in bound]
    return "\n".join([*values, "[parameters]", *binds, ""])


async def fuzz(here: Fuzzed, folder: Path, *options: str) -> tuple[int, str]:
    """Exit code and report of a run over every route but the endless ones. `options` are the command's own."""
    left_out = [f"--exclude-path={path}" for path in endless(create_app(here.gateway.parts).openapi())]
    (folder / "schemathesis.toml").write_text(_configuration(here.known))
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{here.gateway.url}/openapi.json",
        "--checks", ",".join(CHECKS), "--header", f"Authorization: Bearer {here.key}",
        "--generation-database", "none", "--continue-on-failure", "--no-color", *left_out, *options,
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(errors="replace")
