"""What the gateway makes of answers about streams and consumers."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nats.aio.client import Client

from services.gateway.log_room import LogRoom
from services.gateway.projection_feed import require_consumer
from services.gateway.usage_freshness import Freshness
from shared.errors import LogFull, Permanent, Unavailable


def answering(body: dict[str, Any]) -> Client:
    async def request(*_: Any, **__: Any) -> Any:
        return SimpleNamespace(data=json.dumps(body).encode())

    return cast("Client", SimpleNamespace(request=request))


@pytest.mark.parametrize(
    ("code", "error"), [(10014, Permanent), (10059, Permanent), (10008, Unavailable), (10039, Unavailable)]
)
async def test_only_a_consumer_that_is_not_there_is_worth_giving_up(
    code: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await require_consumer(answering({"error": {"err_code": code, "description": "no"}}))


async def test_as_of_is_the_servers_time() -> None:
    info = {"ts": "2020-01-01T00:00:00.123456789Z", "num_pending": 0, "num_ack_pending": 0}
    found = await Freshness(answering(info)).now()
    assert found.as_of == datetime(2020, 1, 1, 0, 0, 0, 123456, UTC)
    assert found.lag_seconds == 0.0


async def test_new_requests_are_refused_above_nine_tenths() -> None:
    for size, cap, full in ((90, 100, False), (91, 100, True), (10**12, -1, False)):
        room = LogRoom(answering({"config": {"max_bytes": cap}, "state": {"bytes": size}}))
        await room.look()
        if full:
            with pytest.raises(LogFull):
                room.require()
        else:
            room.require()
