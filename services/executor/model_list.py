"""Answers gateways that ask what models the provider has."""

import logging
from typing import Protocol

from faststream.nats import NatsBroker, NatsMessage

from services.executor.models.provider import ModelError
from shared import subjects
from shared.model_listing import ModelListing

_log = logging.getLogger(__name__)


class Lister(Protocol):
    async def list_models(self) -> ModelListing:
        """Raises: ModelError."""
        ...


def answer_lists(broker: NatsBroker, lister: Lister) -> None:
    """Adds the subscription; it begins with the broker. Of all executors one gets each request."""

    async def models(_: NatsMessage) -> bytes:
        return (await listing(lister)).model_dump_json().encode()

    broker.subscriber(
        subjects.PROVIDER_MODELS,
        queue=subjects.EXECUTORS,
        title="executor:models",
        description="A gateway asks what models the provider has; the answer goes to the reply subject.",
    )(models)


async def listing(lister: Lister) -> ModelListing:
    """The list, or why there is none."""
    try:
        return await lister.list_models()
    except ModelError as error:
        _log.warning("no list of models: %s: %s", error.code, error.message)
        return ModelListing(error=error.message)
