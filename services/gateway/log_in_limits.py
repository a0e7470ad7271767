"""How often a log-in may fail, per email address and per network address, and how often it may be made at all."""

import time

from fastapi import Request

from services.gateway.addresses import client_address
from services.gateway.problems import too_many
from services.gateway.rate_limits import Attempts
from services.gateway.settings import GatewaySettings

GOOD_ONES = 10
"""So many times as many log-ins with the right password: each costs as much work as a failed one."""


class LogInLimits:
    """Counts in this gateway's memory."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._proxies = settings.proxies()
        self._emails = Attempts(settings.login_attempts_per_email, settings.login_window_seconds)
        self._all = Attempts(GOOD_ONES * settings.login_attempts_per_email, settings.login_window_seconds)
        self._addresses = Attempts(settings.login_attempts_per_address, settings.login_window_seconds)

    def enter(self, request: Request, who: str) -> None:
        """Counts an attempt. `who`: what is guessed at. Raises: Problem 429; such a one does not count."""
        now, address = time.monotonic(), client_address(request.scope, self._proxies)
        who = who.strip().lower()
        wait = max(self._emails.wait(who, now), self._all.wait(who, now), self._addresses.wait(address, now))
        if wait > 0:
            raise too_many("too_many_attempts", "Too many log-ins were tried.", wait)
        self._emails.note(who, now)
        self._all.note(who, now)
        self._addresses.note(address, now)

    def succeeded(self, request: Request, who: str) -> None:
        """It was the right password: what was mistyped before counts as failed no more, nor does this one."""
        self._emails.forget(who.strip().lower())
        self._addresses.take_back(client_address(request.scope, self._proxies))
