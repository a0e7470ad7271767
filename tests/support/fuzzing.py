"""Schemathesis against a gateway of its own, so that what it makes up stays apart from other tests."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from deploy.local.nats_server import NatsServer
from deploy.local.postgres import PostgresServer
from services.gateway.app import create_app
from tests.support.gateway import ROOT, Gateway, migrated, running_gateway

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_headers_conformance", "response_schema_conformance",
)  # fmt: skip
"""No 5xx, and no answer that the OpenAPI document does not describe."""
PHASES = "examples,coverage,fuzzing,stateful"


def endless(document: dict[str, Any]) -> list[str]:
    """Paths that answer with a stream of events: it lasts as long as what it shows, and has tests of its own."""
    return [
        path
        for path, operations in document["paths"].items()
        if "text/event-stream" in operations.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
    ]


@asynccontextmanager
async def fuzzed_gateway(folder: Path) -> AsyncIterator[tuple[Gateway, str]]:
    """A gateway with servers of its own, and the key of a superadmin."""
    nats, postgres = NatsServer(folder / "nats"), PostgresServer(folder / "postgres")
    try:
        nats.start()
        postgres.start()
        ensure = [sys.executable, "-m", "shared.topology"]
        subprocess.run(ensure, cwd=ROOT, env={**os.environ, "NATS_URL": nats.url}, check=True, timeout=60)
        database = migrated(postgres)
        async with running_gateway(nats, database) as gateway:
            yield gateway, database.people["root"].key
    finally:
        nats.stop()
        postgres.stop()


async def fuzz(gateway: Gateway, key: str, folder: Path, *options: str) -> tuple[int, str]:
    """Exit code and report of a run over every route but the endless ones."""
    left_out = [f"--exclude-path={path}" for path in endless(create_app(gateway.parts).openapi())]
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{gateway.url}/openapi.json",
        "--checks", ",".join(CHECKS), "--phases", PHASES, "--header", f"Authorization: Bearer {key}",
        "--generation-database", "none", "--continue-on-failure", "--no-color", *left_out, *options,
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(errors="replace")
