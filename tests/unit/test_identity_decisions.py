"""Scopes, limits, addresses and settings of identity: what is decided without a server."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.gateway import scopes
from services.gateway.addresses import client_address, networks
from services.gateway.rate_limits import Attempts, Buckets
from services.gateway.settings import GatewaySettings


def settings(**changes: Any) -> GatewaySettings:
    return GatewaySettings(nats_url="nats://x", database_url="postgresql://x", **changes)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"token_issuer": "https://idp.example"}, "token_audience"),
        ({"token_algorithms": "HS256"}, "token_algorithms"),
        ({"token_algorithms": "RS256,none"}, "token_algorithms"),
        ({"token_algorithms": ""}, "token_algorithms"),
        ({"trusted_proxies": "10.0.0.0/8,nonsense"}, "trusted_proxies"),
        ({"requests_per_second": -1}, "requests_per_second"),
        ({"session_idle_seconds": 60}, "session_idle_seconds"),
    ],
)
def test_a_setting_that_would_open_a_door_is_refused(given: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        settings(**given)
    assert refusal.value.errors()[0]["loc"] == (field,)


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/v1/me", None),
        ("DELETE", "/v1/me", "account:write"),
        ("GET", "/v1/executions/x/events", "executions:read"),
        ("POST", "/v1/executions/x/stop", "executions:write"),
        ("GET", "/v1/admin/usage", "admin"),
        ("GET", "/v1/usage/executions", "usage:read"),
        ("GET", "/v1/usages", "all"),
        ("GET", "/v1/executionsx", "all"),
        ("POST", "/v1/usage", "all"),
        ("GET", "/v1/new-thing", "all"),
    ],
)
def test_a_call_needs_its_scope_and_an_unknown_one_a_key_without_any(
    method: str, path: str, needed: str | None
) -> None:
    assert scopes.needed(method, path) == needed


def test_no_scopes_are_all_scopes() -> None:
    assert scopes.missing("GET", "/v1/new-thing", ()) is None
    assert scopes.within(["admin"], ())
    assert not scopes.within((), ["admin"])


@given(st.lists(st.floats(min_value=0, max_value=2), max_size=200))
def test_a_bucket_never_lets_more_through_than_its_rate_and_burst(gaps: list[float]) -> None:
    buckets = Buckets(rate=2.0, burst=5)
    now, through = 0.0, 0
    for gap in gaps:
        now += gap
        through += buckets.take("key", now) == 0
        assert through <= 5 + 2.0 * now + 1e-6


def test_a_bucket_says_when_there_is_room_again() -> None:
    buckets = Buckets(rate=0.5, burst=1)
    assert buckets.take("key", 0.0) == 0
    assert buckets.take("key", 0.0) == 2.0
    assert buckets.take("other", 0.0) == 0
    assert buckets.take("key", 2.0) == 0
    assert Buckets(rate=0, burst=1).take("key", 0.0) == 0


def test_the_window_of_attempts_slides() -> None:
    attempts = Attempts(2, 10.0)
    for now in (0.0, 6.0):
        assert attempts.wait("who", now) == 0
        attempts.note("who", now)
    assert attempts.wait("who", 7.0) == 3.0
    assert attempts.wait("who", 10.0) == 0
    attempts.note("who", 10.0)
    assert attempts.wait("who", 11.0) == 5.0
    attempts.take_back("who")
    assert attempts.wait("who", 11.0) == 0
    attempts.note("who", 11.0)
    attempts.forget("who")
    assert attempts.wait("who", 11.0) == 0


def test_what_limits_remember_is_bounded() -> None:
    attempts, buckets = Attempts(1, 10.0, most=10), Buckets(1, 1, most=10)
    for number in range(100):
        attempts.note(number, 0.0)
        buckets.take(number, 0.0)
    assert (len(attempts._made), len(buckets._buckets)) == (10, 10)


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "address"),
    [
        ("192.0.2.1", "6.6.6.6", "", "192.0.2.1"),
        ("192.0.2.1", "6.6.6.6", "10.0.0.0/8", "192.0.2.1"),
        ("10.0.0.1", "6.6.6.6, 192.0.2.1", "10.0.0.0/8", "192.0.2.1"),
        ("10.0.0.1", "6.6.6.6, 192.0.2.1, 10.0.0.2", "10.0.0.0/8", "192.0.2.1"),
        ("10.0.0.1", "6.6.6.6, 192.0.2.1:4711", "10.0.0.0/8", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.1, 10.0.0.2:4711", "10.0.0.0/8", "192.0.2.1"),
        ("10.0.0.1", "[2001:db8:1:2:3::4]:4711", "10.0.0.0/8", "2001:db8:1:2::"),
        ("10.0.0.1", "[2001:db8:1:2:3::4]", "10.0.0.0/8", "2001:db8:1:2::"),
        ("10.0.0.1", "", "10.0.0.0/8", "10.0.0.1"),
        ("10.0.0.1", "nonsense", "10.0.0.0/8", "nonsense"),
        ("2001:db8:1:2:3::4", "", "", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "", "", "192.0.2.1"),
        ("::ffff:10.0.0.1", "192.0.2.1", "10.0.0.0/8", "192.0.2.1"),
        (None, "", "", "unknown"),
    ],
)
def test_the_address_is_the_nearest_that_is_no_trusted_proxy(
    peer: str | None, forwarded: str, trusted: str, address: str
) -> None:
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    scope = {"type": "http", "client": (peer, 1) if peer else None, "headers": headers}
    assert client_address(scope, networks(trusted)) == address
