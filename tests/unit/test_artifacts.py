"""Errors of the bucket of artifacts: in which of ours they end."""

from types import SimpleNamespace
from typing import Any, cast

import nats.errors
import pytest
from nats.aio.client import Client
from nats.js.errors import (
    APIError,
    BucketNotFoundError,
    ObjectNotFoundError,
    ServiceUnavailableError,
)

from shared.artifacts import ArtifactGone, Artifacts
from shared.errors import LekhikaError, LogFull, Unavailable
from shared.events import ArtifactRef, TextRef

REF = ArtifactRef(artifact="e/1", size=3, sha256="0" * 64)


def failing(error: Exception) -> Artifacts:
    """Artifacts whose bucket answers everything with `error`."""

    async def fail(*_: Any) -> Any:
        raise error

    async def bucket(_: str) -> Any:
        return SimpleNamespace(put=fail, get_info=fail, delete=fail)

    js = SimpleNamespace(object_store=bucket)
    return Artifacts(cast("Client", SimpleNamespace(jetstream=lambda: js)))


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (nats.errors.TimeoutError(), Unavailable),
        (TimeoutError(), Unavailable),
        (nats.errors.NoRespondersError(), Unavailable),
        (nats.errors.ConnectionClosedError(), Unavailable),
        (ServiceUnavailableError(code=503, err_code=10008), Unavailable),
        (BucketNotFoundError(), Unavailable),
        (APIError(code=503, err_code=10077, description="maximum bytes exceeded"), LogFull),
        (ServiceUnavailableError(code=503, err_code=10023), LogFull),
        (ObjectNotFoundError(), ArtifactGone),
    ],
)
async def test_every_error_of_the_bucket_becomes_one_of_ours(
    error: Exception, ours: type[LekhikaError]
) -> None:
    artifacts = failing(error)
    with pytest.raises(ours):
        await artifacts.put_text("e", "x" * 100_000)
    with pytest.raises(ours):
        await artifacts.get_text(TextRef(ref=REF, characters=3))


async def test_deleting_what_is_gone_is_fine_and_what_does_not_answer_is_not() -> None:
    await failing(ObjectNotFoundError()).delete(REF)
    with pytest.raises(Unavailable):
        await failing(nats.errors.TimeoutError()).delete(REF)
