"""How many keys and sessions that nobody has may come from one network address: each is a question to Postgres."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request

from services.gateway.addresses import client_address
from services.gateway.problems import too_many
from services.gateway.rate_limits import Buckets
from services.gateway.settings import GatewaySettings
from shared.errors import Unavailable

T = TypeVar("T")


class UnknownCredentials:
    """Counts in this gateway's memory. What the gateway remembers is not asked for, and not limited here."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._proxies = settings.proxies()
        self._buckets = Buckets(settings.unknown_keys_per_second, settings.unknown_keys_burst)

    async def asked(self, request: Request, ask: Callable[[], Awaitable[T | None]]) -> T | None:
        """What `ask` finds. Only finding nothing counts; while it asks it counts too, so that many at once are bounded.

        Raises: Problem 429; what `ask` raises.
        """
        address = client_address(request.scope, self._proxies)
        wait = self._buckets.take(address, time.monotonic())
        if wait > 0:
            raise too_many("too_many_attempts", "Too many unknown keys or sessions came from here.", wait)
        try:
            found = await ask()
        except Unavailable:
            self._buckets.give_back(address)
            raise
        if found is not None:
            self._buckets.give_back(address)
        return found
