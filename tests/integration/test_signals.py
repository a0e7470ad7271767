"""Stops and ends reach the executor that runs the execution as they are stored, without a look at the log."""

import asyncio
from typing import Any

import pytest

from deploy.local.nats_server import NatsServer
from services.executor.signals import HEARD, subscribe
from shared import ending, nats
from shared import events as ev
from shared.broker import Broker
from shared.execution import ExecutionState
from shared.ids import new_id
from shared.log import ExecutionLog
from tests.support.make import folded, requested, started


class Runner:
    """Of a worker, what the signals need."""

    def __init__(self, *running: str) -> None:
        self.running: dict[str, Any] = dict.fromkeys(running)
        self.told: asyncio.Queue[ev.Recorded] = asyncio.Queue()

    def heard(self, recorded: ev.Recorded) -> None:
        self.told.put_nowait(recorded)


@pytest.mark.parametrize("kind", HEARD)
async def test_what_others_append_is_heard_of_what_runs_here_and_of_nothing_else(
    nats_server: NatsServer, kind: str
) -> None:
    key, other = new_id(), new_id()
    here = Runner(key)
    broker = Broker(nats_server.url, "test", lambda _: None)
    subscribe(broker, here)  # type: ignore[arg-type]
    await broker.start()
    nc = await nats.connect(nats_server.url, "test")
    try:
        await _stored(nc, other, kind)
        seq = await _stored(nc, key, kind)
        async with asyncio.timeout(5):
            recorded = await here.told.get()
        assert (recorded.execution_id, recorded.event.type, recorded.seq) == (key, kind, seq)
        assert here.told.empty()
    finally:
        await nc.close()
        await broker.stop()


async def _stored(nc: nats.Connection, key: str, kind: str) -> int:
    """The event's sequence, behind a request and a start."""
    log = ExecutionLog(nc)
    after = await log.append(key, requested(), 0)
    after = await log.append(key, started(), after)
    return await log.append(key, _event(folded(await log.load(key)), kind), after)


def _event(state: ExecutionState, kind: str) -> ev.AnyEvent:
    match kind:
        case "stop_requested":
            return ev.StopRequested(by="somebody")
        case "stopped":
            return ending.stopped(state, by="somebody", reason=None, at=state.last_at)
        case _:
            return ending.failed(state, ev.ErrorInfo(code="gone", message="Gone."))
