"""The analytics service, put together: terminal events of the log become ledger and rollups."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from faststream import AckPolicy
from faststream.message import StreamMessage
from faststream.nats import JStream, PullSub
from faststream.nats.subscriber.usecases import BatchPullStreamSubscriber
from nats.aio.msg import Msg
from sqlalchemy.ext.asyncio import AsyncEngine

from services.analytics.closed_days import keep_closed
from services.analytics.intake import AT_ONCE, Intake
from services.analytics.prices import PriceCache
from services.analytics.settings import AnalyticsSettings
from services.analytics.store import Store
from services.analytics.subscription import CollectingSubscription
from services.analytics.watch import Watch, require_consumer
from shared.broker import Broker
from shared.db import make_engine
from shared.errors import Permanent
from shared.health import health_server
from shared.heartbeat import Heartbeat
from shared.log_shipping import LogShipper
from shared.logs import LineMaker
from shared.nats import connect, pull_inbox
from shared.service import Stop
from shared.subjects import ANALYTICS_CONSUMER, CHANGED_MODELS, EXECUTIONS, event_subject
from shared.tasks import cancel_and_wait, spawn

SERVICE = "analytics"
COLLECT_AFTER = 200_000
"""New objects after which the garbage collector looks for cycles. Two batches make two thirds of that and let go of all when
they are counted: by Python's own number, 700, they would be walked through a hundred times meanwhile, for a quarter of the CPU.
"""
FINISH_SECONDS = 5.0
"""How long a batch that is being counted may take to finish when the service ends."""


async def _as_they_came(message: StreamMessage[list[Msg]]) -> list[Msg]:
    """Each message is decoded by itself, later: one that can not be must not take its batch along."""
    return message.raw_message


def build_broker(
    settings: AnalyticsSettings, intake: Intake, stop: Stop
) -> tuple[Broker, BatchPullStreamSubscriber]:
    """The broker with its one subscriber, on the durable consumer that the topology has made."""
    broker = Broker(
        settings.nats_url,
        f"{SERVICE} {settings.instance}",
        stop.fail,
        ca_file=settings.nats_ca_file,
        graceful_timeout=FINISH_SECONDS,
    )
    subscriber = broker.subscriber(
        event_subject("*", "*"),
        stream=JStream(EXECUTIONS, declare=False),
        durable=ANALYTICS_CONSUMER,
        pull_sub=PullSub(
            batch_size=settings.analytics_batch, timeout=settings.analytics_wait_seconds, batch=True
        ),
        ack_policy=AckPolicy.MANUAL,
        inbox_prefix=pull_inbox(settings.nats_url),
        decoder=_as_they_came,
        title="analytics",
        description="Ends of executions: completed, stopped, failed. Each is counted once.",
    )

    @subscriber
    async def count(messages: list[Msg]) -> None:
        await intake.take(messages)

    return broker, subscriber


@contextlib.asynccontextmanager
async def _running(
    broker: Broker, subscriber: BatchPullStreamSubscriber, intake: Intake
) -> AsyncIterator[None]:
    async with broker:
        await broker.start()
        if subscriber.subscription is None:
            raise Permanent("analytics is not subscribed")
        # In time for the first batch: only its second fetch has anything to lose.
        subscriber.subscription = subscription = CollectingSubscription(subscriber.subscription)
        try:
            yield
        finally:
            # What is acknowledged or given back needs the broker's connection.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FINISH_SECONDS):
                    await subscription.leave()
            await intake.close(FINISH_SECONDS)


@contextlib.asynccontextmanager
async def _watching(watch: Watch, stop: Stop) -> AsyncIterator[None]:
    task = spawn(watch.run(), name="watch")
    task.add_done_callback(lambda ended: None if ended.cancelled() else stop.fail("the watch ended"))
    try:
        yield
    finally:
        await cancel_and_wait(task)


@contextlib.asynccontextmanager
async def _closing_days(engine: AsyncEngine) -> AsyncIterator[None]:
    """Without it usage is as exact, and long ranges take longer to read: nothing in it ends the service."""
    task = spawn(keep_closed(engine), name="closed days")
    try:
        yield
    finally:
        await cancel_and_wait(task)


def _forgets(prices: PriceCache) -> Callable[[Msg], Awaitable[None]]:
    async def hear(_: Msg) -> None:
        prices.forget()

    return hear


async def main(settings: AnalyticsSettings, stop: Stop, maker: LineMaker) -> None:
    """Runs until `stop`. Raises: Unavailable or Permanent, when it can not start."""
    # Batches, the watch, and the closing of days: each uses one at a time.
    engine = make_engine(settings.database_url.get_secret_value(), application=SERVICE, pool_size=AT_ONCE + 2)
    client = await connect(settings.nats_url, SERVICE, stop.fail, ca_file=settings.nats_ca_file)
    js = client.jetstream()
    store = Store(engine)
    prices = PriceCache(store)
    intake = Intake(store, prices, stop)
    watch = Watch(js, store, intake)
    who: dict[str, Any] = {"service": SERVICE, "instance": settings.instance}

    def status() -> dict[str, Any]:
        return {"counted": intake.counted, "waiting": watch.waiting}

    def snapshot() -> dict[str, Any]:
        return {
            "state": "draining" if stop.is_set() else "ready" if watch.ready()[0] else "starting",
            **status(),
        }

    try:
        async with LogShipper(client, maker, **who):
            await require_consumer(js)
            await client.subscribe(CHANGED_MODELS, cb=_forgets(prices))
            async with (
                Heartbeat(js, **who, snapshot=snapshot),
                health_server(
                    settings.http_host, settings.http_port, **who, ready=watch.ready, status=status
                ),
                _watching(watch, stop),
                _closing_days(engine),
                _running(*build_broker(settings, intake, stop), intake),
            ):
                await stop.wait()
    finally:
        await client.close()
        await engine.dispose()
