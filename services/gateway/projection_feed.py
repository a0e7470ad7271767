"""Where the projector's events come from: a FastStream subscriber on its consumer, and the log itself for the rest.

The consumer tells at once that there is something. But what it gave to a projector that died, or sent into a broken
connection, comes again only after its `ack_wait`, when later events have long been here. So what does not follow
on the position without a gap is read from the log instead.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import nats.errors
from faststream import AckPolicy
from faststream.message import StreamMessage
from faststream.nats import JStream, PullSub
from faststream.nats.subscriber.usecases import BatchPullStreamSubscriber
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from services.gateway.projection import NODE_TYPES
from services.gateway.settings import GatewaySettings
from shared.broker import Broker
from shared.errors import Permanent, Unavailable
from shared.events import Recorded
from shared.jetstream import NOT_FOUND, api, direct_get
from shared.messages import SEQUENCE, SUBJECT, from_copy, from_delivery, from_stored
from shared.nats import OnClosed, pull_inbox
from shared.subjects import ALL_EXECUTIONS, EXECUTIONS, PROJECTION_CONSUMER, event_subject, execution_of

BATCH = 500
WAIT_SECONDS = 1.0
"""How long a fetch waits for its first event; it returns at once with it and what else is there."""
READ_BYTES = 8 * 1024 * 1024
"""Of one batch read from the log."""
_MISSING = frozenset({10014, 10059})
"""Error codes: there is no such consumer, no such stream. Any other passes, such as an election."""

Take = Callable[[list[Msg]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Item:
    """A stored event that has not been decoded. `read` raises UnknownEvent."""

    seq: int
    subject: str
    read: Callable[[], Recorded]

    @property
    def execution_id(self) -> str:
        return execution_of(self.subject)

    @property
    def shown(self) -> bool:
        """Whether rows may show it."""
        return self.subject.split(".", 3)[2] not in NODE_TYPES


def delivered(msg: Msg) -> Item:
    """Of a message of the consumer."""
    return Item(msg.metadata.sequence.stream, msg.subject, lambda: from_delivery(msg))


def _copied(msg: Msg) -> Item:
    headers = msg.headers or {}
    return Item(int(headers[SEQUENCE]), headers[SUBJECT], lambda: from_copy(msg))


async def stored_after(nc: Client, position: int) -> Sequence[Item]:
    """The next events after a position, in order; empty when its leader says that the log has no more.

    Raises: Unavailable.
    """
    place = {"seq": position + 1, "next_by_subj": ALL_EXECUTIONS}
    found = [
        _copied(msg)
        async for msg in direct_get(nc, EXECUTIONS, {**place, "batch": BATCH, "max_bytes": READ_BYTES})
    ]
    if found:
        return found
    # A follower that lags answers direct gets, too.
    answer = await api(nc, f"STREAM.MSG.GET.{EXECUTIONS}", place)
    if "error" not in answer:
        message = answer["message"]
        return [Item(int(message["seq"]), message["subject"], lambda: from_stored(message))]
    if answer["error"].get("err_code") == NOT_FOUND:
        return []
    raise Unavailable(f"reading the log failed: {answer['error'].get('description')}")


async def log_end(nc: Client) -> int:
    """The last sequence that the log has given out. Raises: Unavailable."""
    answer = await api(nc, f"STREAM.INFO.{EXECUTIONS}", {})
    if "error" in answer:
        raise Unavailable(f"the log: {answer['error'].get('description')}")
    return int(answer["state"]["last_seq"])


async def require_consumer(nc: Client) -> None:
    """Raises: Permanent, when the topology was not created: the client would make a consumer of its own; Unavailable."""
    answer = await api(nc, f"CONSUMER.INFO.{EXECUTIONS}.{PROJECTION_CONSUMER}", {})
    if "error" in answer:
        fault = f"the consumer {PROJECTION_CONSUMER}: {answer['error'].get('description')}"
        raise (Permanent if answer["error"].get("err_code") in _MISSING else Unavailable)(fault)


class PromptSubscription(JetStreamContext.PullSubscription):
    """Takes the place of `inner`, for which FastStream would collect until the time is up or a batch is full.

    Here a batch is the first event and what has come by then.
    """

    def __init__(self, inner: JetStreamContext.PullSubscription) -> None:
        self.__dict__ = vars(inner)

    async def fetch(
        self, batch: int = 1, timeout: float | None = 5, heartbeat: float | None = None
    ) -> list[Msg]:
        """Raises: nats.errors.TimeoutError, when there is nothing, or for the rest of a batch."""
        if batch < BATCH:
            raise nats.errors.TimeoutError
        try:
            return await self._rest(await super().fetch(1, timeout, heartbeat))
        except nats.errors.TimeoutError:
            raise
        except TimeoutError:
            raise nats.errors.TimeoutError from None

    async def _rest(self, found: list[Msg]) -> list[Msg]:
        request = {"batch": BATCH - len(found), "no_wait": True}
        await self._nc.publish(self._nms, json.dumps(request).encode(), self._deliver)
        while len(found) < BATCH:
            try:
                msg = await self._sub.next_msg(timeout=WAIT_SECONDS)
            except TimeoutError:
                break
            if JetStreamContext.is_status_msg(msg):
                break
            found.append(msg)
        return found


async def _as_they_came(message: StreamMessage[list[Msg]]) -> list[Msg]:
    """Each message is decoded by itself, later: one that can not be must not take its batch along."""
    return message.raw_message


def build_broker(
    settings: GatewaySettings, take: Take, on_closed: OnClosed
) -> tuple[Broker, BatchPullStreamSubscriber]:
    """The broker with its one subscriber, on the durable consumer that the topology has made."""
    broker = Broker(
        settings.nats_url,
        f"projector {settings.instance}",
        on_closed,
        ca_file=settings.nats_ca_file,
        graceful_timeout=settings.shutdown_seconds,
    )
    subscriber = broker.subscriber(
        event_subject("*", ">"),
        stream=JStream(EXECUTIONS, declare=False),
        durable=PROJECTION_CONSUMER,
        pull_sub=PullSub(batch_size=BATCH, timeout=WAIT_SECONDS, batch=True),
        ack_policy=AckPolicy.MANUAL,
        inbox_prefix=pull_inbox(settings.nats_url),
        decoder=_as_they_came,
        title=PROJECTION_CONSUMER,
        description="All events of the log; the read model of executions follows them.",
    )

    @subscriber
    async def follow(messages: list[Msg]) -> None:
        await take(messages)

    return broker, subscriber
