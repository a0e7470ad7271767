"""The public keys of an identity provider (RFC 7517), fetched when they are needed and kept while it is away."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import httpx2
import orjson
from jwt import PyJWK, PyJWTError

from services.gateway.settings import TokenSettings
from shared.errors import Unavailable
from shared.tasks import spawn

FETCH_SECONDS = 5.0
"""For the whole of it: each piece of an answer in time is not enough."""
MOST_BYTES = 1_000_000
MOST_KEYS = 100

_log = logging.getLogger(__name__)


class _Unusable(Exception):
    """The provider's answer is not what the standards say."""


class ProviderKeys:
    """Asks again for a key that it does not know, but not more often than the settings say, and for all of them when
    they have become old, which nobody waits for.
    """

    def __init__(self, settings: TokenSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._keys: tuple[PyJWK, ...] = ()
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._asking: asyncio.Task[bool] | None = None
        self._failed = False

    async def get(self, kid: object, algorithm: str) -> PyJWK | None:
        """None when the provider has no such key. Raises: Unavailable, when it is not known and can not be had."""
        now = self._clock()
        found = self._find(kid, algorithm)
        if found is not None:
            if now - self._fetched_at > self._settings.keys_seconds and self._may_ask(now):
                self._ask(now)
            return found
        if self._asking is not None or self._may_ask(now):
            await asyncio.shield(self._asking or self._ask(now))
            found = self._find(kid, algorithm)
        if found is None and self._failed:
            raise Unavailable("the identity provider does not answer")
        return found

    def _find(self, kid: object, algorithm: str) -> PyJWK | None:
        """By its id; a token without one may be signed with the only key that there is for its algorithm."""
        fit = [key for key in self._keys if key.algorithm_name == algorithm]
        if kid is None:
            return fit[0] if len(fit) == 1 else None
        return next((key for key in fit if key.key_id == kid), None)

    def _may_ask(self, now: float) -> bool:
        return self._asking is None and now - self._tried_at >= self._settings.refetch_seconds

    def _ask(self, now: float) -> "asyncio.Task[bool]":
        self._tried_at = now
        self._asking = spawn(self._fetch(), name="keys of the identity provider")
        return self._asking

    async def _fetch(self) -> bool:
        """Whether it answered; what it says wrong is logged."""
        try:
            async with asyncio.timeout(FETCH_SECONDS), httpx2.AsyncClient(timeout=FETCH_SECONDS) as client:
                url = self._settings.jwks_url or await self._discovered(client)
                self._keys = _usable(await _json(client, url), self._settings.algorithms)
            self._fetched_at = self._clock()
            self._failed = False
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, TimeoutError, _Unusable) as error:
            _log.warning(
                "the keys of the identity provider can not be had: %s: %s", type(error).__name__, error
            )
            self._failed = True
        finally:
            self._asking = None
        return not self._failed

    async def _discovered(self, client: httpx2.AsyncClient) -> str:
        """OpenID Connect Discovery 1.0, section 4. Raises: httpx2.HTTPError, httpx2.InvalidURL, ValueError, _Unusable."""
        issuer = self._settings.issuer
        found = await _json(client, issuer.rstrip("/") + "/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise _Unusable("its configuration names another issuer")
        url = found.get("jwks_uri")
        if not isinstance(url, str):
            raise _Unusable("its configuration has no jwks_uri")
        return url


async def _json(client: httpx2.AsyncClient, url: str) -> dict[str, Any]:
    """Raises: httpx2.HTTPError, httpx2.InvalidURL, ValueError, _Unusable."""
    async with client.stream("GET", url) as answer:
        answer.raise_for_status()
        data = b""
        async for chunk in answer.aiter_bytes():
            data += chunk
            if len(data) > MOST_BYTES:
                raise _Unusable("its answer is too large")
    value = orjson.loads(data)
    if not isinstance(value, dict):
        raise _Unusable("its answer is no JSON object")
    return value


def _usable(answer: dict[str, Any], algorithms: frozenset[str]) -> tuple[PyJWK, ...]:
    """Keys for signatures, once for each allowed algorithm that they can be used with. Raises: _Unusable."""
    listed = answer.get("keys")
    if not isinstance(listed, list):
        raise _Unusable("its answer has no list of keys")
    return tuple(
        made
        for key in listed[:MOST_KEYS]
        if isinstance(key, dict) and key.get("use", "sig") == "sig"
        for algorithm in sorted(algorithms)
        if key.get("alg", algorithm) == algorithm and (made := _made(key, algorithm)) is not None
    )


def _made(key: dict[str, Any], algorithm: str) -> PyJWK | None:
    """None for a key of another kind than the algorithm needs."""
    try:
        return PyJWK(key, algorithm)
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
