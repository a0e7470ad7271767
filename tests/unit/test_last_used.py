"""When keys and sessions were used last: a write that fails is the loss of a hint, and no more."""

import asyncio
from typing import Any, cast

import pytest
from sqlalchemy.exc import ProgrammingError

from services.gateway.last_used import LastUsed
from services.gateway.principal import Principal
from services.gateway.settings import GatewaySettings


async def test_a_write_that_the_database_refuses_is_not_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As while a release with other columns is rolled out."""
    settings = GatewaySettings(nats_url="nats://x", database_url="postgresql://x")
    used = LastUsed(cast("Any", None), settings, clock=lambda: 0.0)
    written: asyncio.Queue[set[str]] = asyncio.Queue()

    async def write(keys: set[str], sessions: set[str]) -> None:
        await written.put(keys | sessions)
        if len(keys) == 1:
            raise ProgrammingError("UPDATE", {}, Exception("no such column"))

    monkeypatch.setattr(used, "_write", write)
    async with used.running(), asyncio.timeout(5):
        used.note(Principal(user_id="u", role="user", key_id="key"))
        assert await written.get() == {"key"}
        used.note(Principal(user_id="u", role="user", session_id="session"))
        assert await written.get() == {"session"}
