"""Real servers for the session, and a gateway over them."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.nats_server import NatsServer
from deploy.local.postgres import PostgresServer
from shared.db import make_engine
from shared.ids import new_id
from tests.support.gateway import (
    ROOT,
    Database,
    Gateway,
    Person,
    add_person,
    running_database,
    running_gateway,
)
from tests.support.identity import Provider, provider
from tests.support.ledger import clean_ledger, ledger_database
from tests.support.postgres import service_url


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """NATS of a test's own, without the topology."""
    running = NatsServer(tmp_path / "nats")
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """With the topology."""
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    try:
        ensure = [sys.executable, "-m", "shared.topology"]
        subprocess.run(ensure, cwd=ROOT, env={**os.environ, "NATS_URL": server.url}, check=True, timeout=60)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with running_database(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture(scope="session")
async def gateway(nats_server: NatsServer, database: Database) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_server, database, stream_send_seconds=1.0) as running:
        yield running


@pytest.fixture
async def ada(gateway: Gateway, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A user's client."""
    async with gateway.client(database.people["ada"]) as client:
        yield client


@pytest.fixture
async def ben(gateway: Gateway, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """Another user's."""
    async with gateway.client(database.people["ben"]) as client:
        yield client


@pytest.fixture
async def root(gateway: Gateway, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A superadmin's."""
    async with gateway.client(database.people["root"]) as client:
        yield client


@pytest.fixture
async def anybody(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """Without a key."""
    async with gateway.client() as client:
        yield client


@pytest.fixture
async def analytics(database: Database) -> AsyncIterator[AsyncEngine]:
    """The database as analytics sees it."""
    url = service_url(database.server, "analytics")
    engine = make_engine(url, application="test")
    yield engine
    await engine.dispose()


@pytest.fixture
def person(database: Database) -> Person:
    """Somebody new, of whom nothing is counted."""
    found = Person(new_id(), f"lk_{new_id()}")
    add_person(database, "uma", found)
    return found


@pytest.fixture
async def uma(gateway: Gateway, person: Person) -> AsyncIterator[httpx.AsyncClient]:
    """That person's client."""
    async with gateway.client(person) as client:
        yield client


@pytest.fixture(scope="module")
async def idp() -> AsyncIterator[Provider]:
    """An identity provider."""
    async with provider() as running:
        yield running


@pytest.fixture(scope="module")
async def trusting(nats_server: NatsServer, database: Database, idp: Provider) -> AsyncIterator[Gateway]:
    """A gateway that takes its tokens."""
    async with running_gateway(nats_server, database, **idp.settings(token_refetch_seconds=0.001)) as running:
        yield running


@pytest.fixture(scope="module")
def ledger_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A database for the tests of one file that are about the ledger alone: nobody can empty its audit."""
    with ledger_database(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture
async def engine(ledger_server: PostgresServer) -> AsyncIterator[AsyncEngine]:
    """That database as analytics reaches it; nothing is counted yet."""
    async with clean_ledger(ledger_server) as made:
        yield made
