"""The executor, put together: takes work, runs it, obeys stops, hands back at its end."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import nats.errors
from nats.aio.msg import Msg

from services.executor.apart import Apart
from services.executor.evidence import Witness
from services.executor.intake import Intake
from services.executor.model_list import Lister, answer_lists
from services.executor.models import gemini
from services.executor.models.gate import Gate
from services.executor.models.gemini import Gemini
from services.executor.models.limiter import Limiter
from services.executor.models.names import OPENAI_PREFIX
from services.executor.models.provider import Provider
from services.executor.models.registry import Models
from services.executor.parts import Parts
from services.executor.server_clock import ServerClock
from services.executor.settings import ExecutorSettings
from services.executor.signals import subscribe
from services.executor.worker import Worker
from shared import conventions as metrics
from shared import subjects
from shared.artifacts import Artifacts
from shared.broker import Broker
from shared.errors import LekhikaError, Permanent, Unavailable
from shared.health import health_server
from shared.heartbeat import Heartbeat
from shared.log import ExecutionLog
from shared.log_shipping import LogShipper
from shared.logs import LineMaker
from shared.nats import Connection, connect
from shared.service import Stop, spare_the_collector
from shared.tasks import cancel_and_wait, spawn
from shared.topology import missing

SERVICE = "executor"
LOOK_SECONDS = 1.0
"""Between two looks for signals that were missed."""

_log = logging.getLogger(__name__)


async def models(settings: ExecutorSettings) -> Models:
    """The providers that are configured, each rehearsed."""
    others: dict[str, Provider] = {}
    await gemini.rehearse()
    if settings.openai_api_key is not None or settings.openai_base_url is not None:
        # Its SDK takes 0.7 s and 16 MB, which are not spent where nobody uses it.
        from services.executor.models import openai_compatible

        await openai_compatible.rehearse()
        key = settings.openai_api_key.get_secret_value() if settings.openai_api_key is not None else None
        others[OPENAI_PREFIX] = openai_compatible.OpenAICompatible(key, settings.openai_base_url)
    return Models(Gemini(settings.gemini_api_key.get_secret_value(), settings.gemini_base_url), others)


class Executor:
    """The parts that live as long as the process."""

    def __init__(self, settings: ExecutorSettings, client: Connection, stop: Stop, models: Models) -> None:
        js = client.jetstream()
        self.settings = settings
        self.client = client
        self.models = models
        clock = ServerClock()
        self.heartbeat = Heartbeat(js, service=SERVICE, instance=settings.instance, snapshot=self.snapshot)
        parts = Parts(
            nc=client,
            artifacts=Artifacts(client),
            provider=self.models,
            times=settings.times,
            clock=clock,
            apart=Apart(),
            gate=Gate(Limiter(js, settings.model_limits, clock.now) if settings.model_limits else None),
            retry_budget=settings.retry_budget,
        )
        self.worker = Worker(
            ExecutionLog(client),
            parts,
            Witness(client, self.heartbeat),
            instance=settings.instance,
            max_losses=settings.max_losses,
        )
        self.intake = Intake(client, settings.slots, self._start)
        self._stop = stop

    def _start(self, msg: Msg, lane: str) -> None:
        user_id = subjects.user_of(msg.subject)
        self.worker.start(msg, lane, lambda lane: self.intake.free(lane, user_id))

    def snapshot(self) -> dict[str, Any]:
        """What the heartbeat and /status say beside the general part."""
        used = self.intake.used
        metrics.SLOTS.labels("total").set(self.intake.slots)
        metrics.SLOTS.labels("used").set(used)
        return {
            "state": "draining" if self._stop.is_set() else "ready",
            "slots": {"total": self.intake.slots, "used": used},
            "executions": self.worker.listing(),
        }

    def ready(self) -> tuple[bool, str]:
        if self._stop.is_set():
            return False, "draining"
        if not self.client.is_connected:
            return False, "NATS is away"
        return not self.intake.silent, "the queue does not answer" if self.intake.silent else ""


async def _every(seconds: float, what: Callable[[], Awaitable[None]]) -> None:
    """Does `what` again and again; while NATS is away it is left out."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await what()
        except (Unavailable, nats.errors.Error) as error:
            _log.warning("skipped: %s", error)


async def _look(worker: Worker, back: asyncio.Event) -> None:
    """Asks for missed signals every second, and at once when the connection is back."""
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await back.wait()
        back.clear()
        try:
            async with asyncio.timeout(LOOK_SECONDS):  # an answer that was lost with a connection never comes
                await worker.look_for_missed()
        except (LekhikaError, nats.errors.Error, TimeoutError) as error:
            _log.warning("not looked for missed signals: %s: %s", type(error).__name__, error)


@contextlib.asynccontextmanager
async def _tasks(stop: Stop, *loops: Awaitable[None]) -> AsyncIterator[None]:
    """Runs these for as long as the block; one that ends by itself ends the process."""
    running = [spawn(_awaited(loop), name="executor loop") for loop in loops]
    for task in running:
        task.add_done_callback(lambda ended: None if ended.cancelled() else stop.fail("a loop ended"))
    try:
        yield
    finally:
        for task in running:
            await cancel_and_wait(task)


async def _awaited(loop: Awaitable[None]) -> None:
    await loop


@contextlib.asynccontextmanager
async def _signals(
    settings: ExecutorSettings, worker: Worker, lister: Lister, stop: Stop
) -> AsyncIterator[None]:
    name = f"{SERVICE} {settings.instance}"
    broker = Broker(settings.nats_url, name, stop.fail, ca_file=settings.nats_ca_file)
    subscribe(broker, worker)
    answer_lists(broker, lister)
    async with broker:
        await broker.start()
        yield


async def main(settings: ExecutorSettings, stop: Stop, maker: LineMaker) -> None:
    """Runs until `stop`, then hands back what it runs. Raises: Unavailable or Permanent, when it can not start."""
    back = asyncio.Event()
    client = await connect(
        settings.nats_url, SERVICE, stop.fail, on_back=back.set, ca_file=settings.nats_ca_file
    )
    who: dict[str, Any] = {"service": SERVICE, "instance": settings.instance}
    try:
        if absent := await missing(client):
            raise Permanent(f"the topology was not created; missing: {', '.join(absent)}")
        providers = await models(settings)
        spare_the_collector()  # of the SDK's types, which were built just now
        executor = Executor(settings, client, stop, providers)
        async with (
            LogShipper(client, maker, **who),
            executor.heartbeat,
            health_server(
                settings.http_host,
                settings.http_port,
                **who,
                ready=executor.ready,
                status=executor.heartbeat.current,
            ),
            _signals(settings, executor.worker, executor.models, stop),
            _tasks(
                stop,
                _every(settings.ack_wait_seconds / 5, executor.worker.extend),
                _look(executor.worker, back),
            ),
            _tasks(stop, executor.intake.run()),
        ):
            await stop.wait()
            executor.worker.leave()
            await executor.intake.leave()
            await executor.worker.release_all(settings.shutdown_seconds)
        await executor.models.aclose()
    finally:
        await client.close()
