"""The leader's key: one holder, expiry, and a holder that was paused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from nats.js.api import KeyValueConfig, StorageType

from deploy.local.nats_server import NatsServer
from services.janitor.leader import Leadership
from shared import nats
from shared.errors import Permanent
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio
BUCKET = "short"


@pytest_asyncio.fixture
async def client(server: NatsServer) -> AsyncIterator[nats.Connection]:
    """With a bucket as the topology makes it, but with a TTL of one second."""
    connection = await nats.connect(server.url, "test")
    config = KeyValueConfig(bucket=BUCKET, ttl=1, limit_marker_ttl=60, storage=StorageType.MEMORY)
    await connection.jetstream().create_key_value(config)
    yield connection
    await connection.close()


def candidate(client: nats.Connection, name: str) -> Leadership:
    return Leadership(client, name, bucket=BUCKET)


async def test_one_of_two_leads_and_hands_over_when_it_ends(client: nats.Connection) -> None:
    async with AsyncExitStack() as leading:
        first = await leading.enter_async_context(candidate(client, "a"))
        async with candidate(client, "b") as second:
            assert first.holds()
            assert not second.holds()
            await leading.aclose()
            assert not first.holds()
            await until(second.holds)


async def test_a_leader_keeps_the_key_beyond_its_ttl(client: nats.Connection) -> None:
    async with candidate(client, "a") as first, candidate(client, "b") as second:
        ends = asyncio.get_running_loop().time() + 2.5
        while asyncio.get_running_loop().time() < ends:
            assert first.holds()
            assert not second.holds()
            await asyncio.sleep(0.02)


async def test_a_silent_leader_knows_before_another_can_lead(
    client: nats.Connection, server: NatsServer
) -> None:
    own = await nats.connect(server.url, "cut off")
    async with candidate(own, "a") as first, candidate(client, "b") as second:
        assert first.holds()
        await own.close()
        await until(lambda: not first.holds())
        assert not second.holds()
        await until(second.holds)
        assert not first.holds()


async def test_without_its_bucket_it_says_so(client: nats.Connection) -> None:
    with pytest.raises(Permanent, match="topology"):
        async with Leadership(client, "a", bucket="absent"):
            pass
