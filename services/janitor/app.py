"""The janitor: its parts, built once, and taken down in order."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from services.janitor.facts import gather
from services.janitor.leader import Leadership
from services.janitor.parts import Parts
from services.janitor.prune import Pruner
from services.janitor.reap import Reaper
from services.janitor.rounds import Rounds
from services.janitor.settings import JanitorSettings
from services.janitor.sweep import Sweeper
from shared import topology
from shared.artifacts import Artifacts
from shared.db import make_engine
from shared.errors import Permanent
from shared.health import health_server
from shared.heartbeat import Heartbeat
from shared.log import ExecutionLog
from shared.log_shipping import LogShipper
from shared.logs import LineMaker
from shared.nats import OnClosed, connect, end_process
from shared.service import Stop
from shared.tasks import cancel_and_wait

SERVICE = "janitor"


@asynccontextmanager
async def connected(settings: JanitorSettings, on_closed: OnClosed = end_process) -> AsyncIterator[Parts]:
    """Raises: Unavailable, when NATS does not answer; Permanent, when the topology is not there."""
    nc = await connect(
        settings.nats_url, f"{SERVICE} {settings.instance}", on_closed, ca_file=settings.nats_ca_file
    )
    db = make_engine(settings.database_url.get_secret_value(), application=SERVICE, pool_size=2)
    try:
        missing = await topology.missing(nc)
        if missing:
            raise Permanent(f"missing in NATS: {', '.join(missing)}; run python -m shared.topology first")
        yield Parts(
            nc=nc,
            db=db,
            log=ExecutionLog(nc),
            artifacts=Artifacts(nc),
            limits=settings.limits(),
        )
    finally:
        await db.dispose()
        await nc.close()


async def main(settings: JanitorSettings, stop: Stop, maker: LineMaker) -> None:
    """Runs until `stop`. Raises: LekhikaError, when it can not start or its topology is taken away."""
    instance = settings.instance
    async with connected(settings, stop.fail) as parts, LogShipper(parts.nc, maker, SERVICE, instance):
        leadership = Leadership(parts.nc, instance)
        heartbeat = Heartbeat(
            parts.nc.jetstream(),
            service=SERVICE,
            instance=instance,
            snapshot=lambda: {"leader": leadership.holds()},
        )
        rounds = Rounds(
            settings=settings,
            leadership=leadership,
            gather=partial(gather, parts.nc, parts.db),
            pruner=Pruner(parts, may_act=leadership.holds),
            reaper=Reaper(parts, may_act=leadership.holds, unbroken_since=heartbeat.unbroken_since),
        )
        sweeper = Sweeper(parts, may_act=leadership.holds)
        health = health_server(
            settings.http_host,
            settings.http_port,
            service=SERVICE,
            instance=instance,
            ready=_ready(parts, leadership, rounds, sweeper),
            status=heartbeat.current,
        )
        async with heartbeat, leadership, health, asyncio.TaskGroup() as group:
            working = group.create_task(rounds.run(), name="rounds")
            sweeping = group.create_task(sweeper.run(), name="sweeps")
            await stop.wait()
            await cancel_and_wait(sweeping)
            await cancel_and_wait(working)


def _ready(
    parts: Parts, leadership: Leadership, rounds: Rounds, sweeper: Sweeper
) -> Callable[[], tuple[bool, str]]:
    def ready() -> tuple[bool, str]:
        if not parts.nc.is_connected:
            return False, "NATS is not connected"
        failure = leadership.failure or rounds.failure or sweeper.failure
        if failure is not None:
            return False, failure
        return True, "leader" if leadership.holds() else "standing by"

    return ready
