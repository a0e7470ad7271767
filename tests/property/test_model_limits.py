"""The arithmetic of limits per minute, and of models that are down."""

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from services.executor.models.circuit import FAILURES, FIRST_SECONDS, LONGEST_SECONDS, Circuit
from services.executor.models.quota import (
    HORIZON_SECONDS,
    Bucket,
    Limit,
    burst_seconds,
    expected,
    reserve,
    settle,
)

NOW = 1_800_000_000.0
ASKS = st.lists(st.tuples(st.floats(0, 20), st.lists(st.integers(0, 5_000), max_size=40)), max_size=30)
"""Pauses, and after each the tokens of calls that are asked for."""


def moments(limit: Limit, asks: list[tuple[float, list[int]]], skew: float = 0.0) -> list[tuple[float, int]]:
    """When each call begins by the true clock, with its tokens; every other executor's clock is ahead by `skew`."""
    bucket, now, begun = Bucket(), NOW, []
    for turn, (pause, tokens) in enumerate(asks):
        now += pause
        ahead = skew if turn % 2 else 0.0
        bucket, given_ = reserve(bucket, limit, now + ahead, tokens)
        begun += [(at - ahead, count) for at, count in zip(given_, tokens, strict=False)]
    return sorted(begun)


@given(per_minute=st.integers(1, 5_000), asks=ASKS)
def test_no_minute_has_more_than_the_limit_and_five_percent(
    per_minute: int, asks: list[tuple[float, list[int]]]
) -> None:
    times = [at for at, _ in moments(Limit(requests_per_minute=per_minute), asks)]
    for first, begin in enumerate(times):
        assert bisect_left(times, begin + 59.999) - first <= max(per_minute, per_minute * 1.05)


@given(per_minute=st.integers(1_000, 1_000_000), asks=ASKS)
def test_no_minute_begins_more_tokens_than_the_limit_but_for_one_call(
    per_minute: int, asks: list[tuple[float, list[int]]]
) -> None:
    begun = moments(Limit(tokens_per_minute=per_minute), asks)
    for first, (begin, _) in enumerate(begun):
        within = [tokens for at, tokens in begun[first:] if at < begin + 59.999]
        assert sum(within) <= per_minute * 1.05 + within[-1]


@given(per_minute=st.integers(60, 5_000), asks=ASKS, skew=st.floats(0, 2))
def test_clocks_that_differ_exceed_it_by_their_difference_at_most(
    per_minute: int, asks: list[tuple[float, list[int]]], skew: float
) -> None:
    times = [at for at, _ in moments(Limit(requests_per_minute=per_minute), asks, skew)]
    for first, begin in enumerate(times):
        allowed = per_minute * (1.05 + skew / 60) + 1
        assert bisect_left(times, begin + 59.999) - first <= allowed


@given(tokens=st.lists(st.integers(0, 100_000), max_size=50))
def test_nothing_is_reserved_beyond_the_horizon_and_all_in_order(tokens: list[int]) -> None:
    limit = Limit(requests_per_minute=30, tokens_per_minute=50_000)
    _, times = reserve(Bucket(), limit, NOW, tokens)
    assert list(times) == sorted(times)
    assert all(NOW <= at <= NOW + HORIZON_SECONDS for at in times)


@given(tokens=st.integers(0, 100_000), used=st.integers(0, 100_000))
def test_what_a_call_has_really_used_is_what_counts(tokens: int, used: int) -> None:
    limit = Limit(tokens_per_minute=60_000)
    reserved, _ = reserve(Bucket(), limit, NOW, [tokens])
    exact, _ = reserve(Bucket(), limit, NOW, [used])
    assert abs(settle(reserved, limit, used - tokens).tokens - exact.tokens) < 1e-3


def test_what_has_no_limit_never_waits() -> None:
    bucket, times = reserve(Bucket(), Limit(), NOW, [10**9] * 100)
    assert set(times) == {NOW}
    assert bucket == Bucket()


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 60), st.floats(0, 0.999)), max_size=100))
def test_a_model_that_is_down_gets_one_call_at_a_time_and_never_waits_for_ever(
    story: list[tuple[bool, float, float]],
) -> None:
    circuit, now, failed_in_a_row = Circuit(), 0.0, 0
    for lives, pause, chance in story:
        now += pause
        wait = circuit.wait(now)
        assert wait <= LONGEST_SECONDS
        assert (wait == 0) or failed_in_a_row >= FAILURES
        now += wait
        call = circuit.begin()
        assert circuit.probing == (failed_in_a_row >= FAILURES)
        assert (circuit.wait(now) > 0) == circuit.probing  # nobody else goes with the probe
        if lives:
            circuit.lived()
            failed_in_a_row = 0
        else:
            circuit.failed(call, "overloaded", now, chance)
            failed_in_a_row += 1


def test_a_probe_that_was_stopped_lets_another_go() -> None:
    circuit = Circuit()
    for _ in range(FAILURES):
        circuit.failed(circuit.begin(), "overloaded", 0.0, 0.5)
    probe = circuit.begin()
    assert circuit.wait(60.0) > 0
    circuit.abandoned(probe)
    assert circuit.wait(60.0) == 0


def test_a_burst_of_failures_is_one_outage() -> None:
    circuit = Circuit()
    calls = [circuit.begin() for _ in range(50)]
    for call in calls:
        circuit.failed(call, "overloaded", 0.0, 0.999)
    assert circuit.wait(0.0) <= FIRST_SECONDS
    assert circuit.opened == 1


def test_only_the_probe_decides_while_a_model_is_down() -> None:
    circuit = Circuit()
    calls = [circuit.begin() for _ in range(FAILURES + 2)]
    for call in calls[:FAILURES]:
        circuit.failed(call, "overloaded", 0.0, 0.5)
    probe = circuit.begin()
    circuit.failed(calls[-1], "overloaded", 60.0, 0.5)
    circuit.abandoned(calls[-2])
    assert circuit.probing
    circuit.failed(probe, "overloaded", 60.0, 0.5)
    assert (circuit.probing, circuit.opened) == (False, 2)


def test_the_wait_that_is_told_counts_the_tokens_of_those_before() -> None:
    limit = Limit(requests_per_minute=6_000, tokens_per_minute=60_000)
    alone = expected(Bucket(), limit, NOW, [])
    behind = expected(Bucket(), limit, NOW, [10_000, 20_000])
    assert alone == 0
    assert 30 - burst_seconds(60_000) - 0.1 <= behind <= 30
