"""Several limiters on one NATS: together they keep the limit, and nobody has a turn while NATS is away."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import nats
import pytest
from nats.errors import ConnectionClosedError
from nats.js import JetStreamContext
from nats.js.kv import KeyValue

from deploy.local.nats_server import NatsServer
from services.executor.models import limiter as limiters
from services.executor.models.limiter import Limiter, key_of
from services.executor.models.quota import Limit, burst_seconds
from shared import topology
from shared.ids import new_id
from shared.subjects import LIMITS

PER_MINUTE = 3_000


async def nobody(seconds: float) -> None: ...


async def wait_of(limiter: Limiter, model: str, tokens: int) -> float:
    """Seconds that a call is told to wait, without waiting for them."""
    told: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def tell(seconds: float) -> None:
        told.set_result(seconds)
        await asyncio.Event().wait()

    taking = asyncio.ensure_future(limiter.take(model, tokens, tell))
    both: list[asyncio.Future[Any]] = [taking, told]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    taking.cancel()
    return told.result() if told.done() else 0.0


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("limiter"))
    server.start()
    nc = await nats.connect(server.url)
    await topology.ensure(nc, topology.TopologySettings(NATS_URL=server.url))
    await nc.close()
    yield server
    server.stop()


async def test_many_executors_keep_one_limit_and_waste_none_of_it(server: NatsServer) -> None:
    model, calls = f"openai/{new_id()}:8b", 200
    limits = {model: Limit(requests_per_minute=PER_MINUTE)}
    connections = [await nats.connect(server.url) for _ in range(5)]
    fleet = [Limiter(nc.jetstream(), limits, time.time) for nc in connections]
    begun: list[float] = []

    async def call(limiter: Limiter) -> None:
        await limiter.take(model, 1, nobody)
        begun.append(time.time())

    await asyncio.gather(*(call(fleet[n % 5]) for n in range(calls)))
    begun.sort()
    rate = PER_MINUTE / 60
    for first, begin in enumerate(begun):
        for window in (0.5, 1.0, 3.0):
            within = sum(begin <= at < begin + window for at in begun[first:])
            assert within <= rate * (window + burst_seconds(PER_MINUTE)) + 2
    assert begun[-1] - begun[0] <= calls / rate + 1
    for nc in connections:
        await nc.close()


async def test_a_model_without_limits_asks_nobody(server: NatsServer) -> None:
    nc = await nats.connect(server.url)
    limiter = Limiter(nc.jetstream(), {}, time.time)
    sent = nc.stats["out_msgs"]
    await limiter.take("any", 10, nobody)
    assert nc.stats["out_msgs"] == sent
    await nc.close()


async def test_tokens_that_calls_have_used_are_told_with_the_next(server: NatsServer) -> None:
    nc = await nats.connect(server.url)
    model = new_id()
    limits = {model: Limit(tokens_per_minute=60_000)}
    first, second = (Limiter(nc.jetstream(), limits, time.time) for _ in range(2))
    assert await wait_of(first, model, 1_000) == 0
    first.used(model, 1_000, 7_000)
    assert await wait_of(first, model, 0) > 4
    assert await wait_of(second, model, 0) > 4
    await nc.close()


async def test_tokens_are_told_at_once_when_nobody_waits(server: NatsServer) -> None:
    nc = await nats.connect(server.url)
    model = new_id()
    limits = {model: Limit(tokens_per_minute=60_000)}
    first, second = (Limiter(nc.jetstream(), limits, time.time) for _ in range(2))
    assert await wait_of(first, model, 1_000) == 0
    bucket = await nc.jetstream().key_value(LIMITS)
    watcher: Any = await bucket.watch(key_of(model))  # whose methods have no types
    assert (await watcher.updates()) is not None
    first.used(model, 1_000, 7_000)
    while await watcher.updates(timeout=5) is None:
        pass
    assert await wait_of(second, model, 0) > 4
    await nc.close()


async def test_while_nats_is_away_nobody_has_a_turn(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiters, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(limiters, "AWAY_SECONDS", 0.01)
    nc, model = await nats.connect(server.url), new_id()
    away = Away(nc.jetstream())
    limiter = Limiter(away, {model: Limit(requests_per_minute=60)}, time.time)  # type: ignore[arg-type]
    taking = asyncio.ensure_future(limiter.take(model, 1, nobody))
    await asyncio.wait_for(away.asked_again.wait(), 5)
    assert not taking.done()
    away.back = True
    due = await asyncio.wait_for(taking, 5)
    assert due is not None
    assert time.monotonic() - due < 1  # it is of now, not of then
    await nc.close()


class Away:
    """A JetStream that does not answer until it is back."""

    def __init__(self, js: JetStreamContext) -> None:
        self.js = js
        self.back = False
        self.asked = 0
        self.asked_again = asyncio.Event()

    async def key_value(self, name: str) -> KeyValue:
        self.asked += 1
        if self.asked > 2:
            self.asked_again.set()
        if not self.back:
            raise ConnectionClosedError
        return await self.js.key_value(name)


async def test_the_moment_of_who_is_stopped_goes_to_the_next(server: NatsServer) -> None:
    nc, model = await nats.connect(server.url), new_id()
    limiter = Limiter(nc.jetstream(), {model: Limit(requests_per_minute=6)}, time.time)
    assert await wait_of(limiter, model, 1) == 0
    stopped = [await wait_of(limiter, model, 1) for _ in range(3)]  # each gets a moment and is stopped
    assert all(9 < seconds <= 10 for seconds in stopped)
    await nc.close()


async def test_who_is_stopped_while_waiting_does_not_hold_the_others_up(server: NatsServer) -> None:
    nc = await nats.connect(server.url)
    model = new_id()
    limiter = Limiter(nc.jetstream(), {model: Limit(requests_per_minute=1)}, time.time)
    taken = [asyncio.ensure_future(limiter.take(model, 1, nobody)) for _ in range(3)]
    await taken[0]
    for task in taken[1:]:
        task.cancel()
    await asyncio.wait(taken[1:])
    assert all(task.cancelled() for task in taken[1:])
    await nc.close()


@pytest.mark.parametrize("model", ["gemini-3.8-flash", "openai/llama3:8b", "a b*>ä"])
def test_every_model_name_is_a_key(model: str) -> None:
    assert set(key_of(model)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=")
