"""A pull subscription that FastStream can collect batches with."""

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext


class CollectingSubscription(JetStreamContext.PullSubscription):
    """Takes the place of `inner`.

    When time runs out between the two requests of a fetch, nats-py raises the plain TimeoutError. FastStream,
    which fetches until a batch is full, expects only the one of nats-py: it would drop what it has collected,
    and those events would wait for their redelivery.
    """

    def __init__(self, inner: JetStreamContext.PullSubscription) -> None:
        self.__dict__ = vars(inner)

    async def fetch(
        self, batch: int = 1, timeout: float | None = 5, heartbeat: float | None = None
    ) -> list[Msg]:
        """Raises: nats.errors.TimeoutError, when there is nothing."""
        try:
            return await super().fetch(batch, timeout, heartbeat)
        except nats.errors.TimeoutError:
            raise
        except TimeoutError:
            raise nats.errors.TimeoutError from None
