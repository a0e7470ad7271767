"""Costs in exact decimals: by date, by length of the prompt, every token once, and unknown is not zero."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from services.analytics.pricing import Cost, Price, PriceList, TokenKind, billed
from shared.usage import Certainty, ModelUsage, Tier, Tokens

OLD, NEW = datetime(2025, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def price(
    kind: TokenKind, amount: str, version: int = 1, *, threshold: int = 0, since: datetime = OLD
) -> Price:
    return Price(
        model="m",
        kind=kind,
        per_million=Decimal(amount),
        valid_from=since,
        version=version,
        threshold=threshold,
    )


PRICES = PriceList(
    [
        price(TokenKind.INPUT, "0.75", 1),
        price(TokenKind.INPUT, "1.50", 6, since=NEW),
        price(TokenKind.INPUT, "4", 7, threshold=200_001),
        price(TokenKind.CACHED, "0.075", 2),
        price(TokenKind.OUTPUT, "3.75", 3),
        price(TokenKind.THOUGHTS, "3.75", 4),
        price(TokenKind.TOOL, "0.75", 5),
    ]
)


def usage(model: str = "m", *, long_context: bool = False, **counts: Any) -> ModelUsage:
    return ModelUsage(model=model, tier=Tier.PAYG, tokens=Tokens(**counts), long_context=long_context)


def test_every_kind_has_its_price_and_cached_tokens_count_once() -> None:
    spent = usage(input=1000, cached=400, output=100, thoughts=50, tool=10)
    exact = (
        600 * Decimal("0.75") + 400 * Decimal("0.075") + 150 * Decimal("3.75") + 10 * Decimal("0.75")
    ) / 10**6
    assert PRICES.cost(spent, NOW) == Cost(amount=exact, price_version=5)


def test_one_token_keeps_all_ten_decimals() -> None:
    cost = PRICES.cost(usage(input=1, cached=1), NOW)
    assert cost is not None
    assert cost.amount == Decimal("0.000000075")


def test_the_price_of_the_day_holds() -> None:
    before = PRICES.cost(usage(input=1_000_000), datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC))
    after = PRICES.cost(usage(input=1_000_000), NEW)
    assert before == Cost(amount=Decimal("0.75"), price_version=1)
    assert after == Cost(amount=Decimal("1.50"), price_version=6)


def test_before_the_first_price_the_cost_is_not_known() -> None:
    assert PRICES.cost(usage(input=1), datetime(2024, 12, 31, tzinfo=UTC)) is None


def test_a_long_prompt_has_its_own_price_where_there_is_one() -> None:
    assert PRICES.cost(usage(input=1_000_000, long_context=True), NOW) == Cost(
        amount=Decimal(4), price_version=7
    )
    assert PRICES.cost(usage(output=1_000_000, long_context=True), NOW) == Cost(
        amount=Decimal("3.75"), price_version=3
    )


def test_a_model_without_a_price_has_no_cost_rather_than_none_to_pay() -> None:
    assert PRICES.cost(usage("stranger", input=1), NOW) is None


def test_a_missing_price_matters_only_when_its_kind_was_used() -> None:
    only_input = PriceList([price(TokenKind.INPUT, "1")])
    assert only_input.cost(usage(input=1_000_000), NOW) == Cost(amount=Decimal(1), price_version=1)
    assert only_input.cost(usage(input=1_000_000, output=1), NOW) is None


def test_nothing_known_costs_an_unknown_amount_and_nothing_used_costs_nothing() -> None:
    unknown = ModelUsage(model="m", tier=Tier.PAYG, tokens=Tokens(certainty=Certainty.UNKNOWN))
    assert PRICES.cost(unknown, NOW) is None
    assert PRICES.cost(usage(), NOW) == Cost(amount=Decimal(0), price_version=0)


@pytest.mark.parametrize("cached", [0, 5, 10, 12])
def test_billed_tokens_are_the_total_whatever_was_cached(cached: int) -> None:
    tokens = Tokens(input=10, cached=cached, output=3, thoughts=2, tool=1)
    assert sum(count for _, count in billed(tokens)) == tokens.total


# As the first migration has them, of the two models whose names and prices change.
LISTED = PriceList(
    Price(
        model=model, kind=kind, per_million=Decimal(amount), valid_from=since, version=1, threshold=threshold
    )
    for model, amount, since, threshold in (
        ("gemini-3.8-flash", "3.75", OLD, 0),
        ("gemini-3.8-flash", "7.50", NEW, 0),
        ("gemini-2.5-pro", "10", OLD, 0),
        ("gemini-2.5-pro", "15", OLD, 200_001),
        ("gemini-3.1-pro-preview", "12", OLD, 0),
        ("gemini-4-flash-002", "1", OLD, 0),
        ("gemini-4-flash", "2", OLD, 0),
        ("openai/gpt-6", "5", OLD, 0),
    )
    for kind in TokenKind
)
LAST_YEAR, NEW_YEAR = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("answered", "at", "long_context", "per_million"),
    [
        ("gemini-3.8-flash", LAST_YEAR, False, "3.75"),
        ("gemini-3.8-flash", NEW_YEAR, False, "7.50"),
        ("gemini-3.8-flash-001", LAST_YEAR, False, "3.75"),
        ("gemini-3.8-flash-001", NEW_YEAR, False, "7.50"),
        ("models/gemini-3.8-flash", NEW_YEAR, False, "7.50"),
        ("gemini-3.8-flash", NEW_YEAR, True, "7.50"),
        ("gemini-2.5-pro-002", LAST_YEAR, False, "10"),
        ("gemini-2.5-pro-002", LAST_YEAR, True, "15"),
        ("gemini-4-flash-002", LAST_YEAR, False, "1"),
        ("gemini-4-flash-001", LAST_YEAR, False, "2"),
        ("gemini-3.1-pro-preview", LAST_YEAR, False, "12"),
        ("openai/gpt-6-2026-10-01", LAST_YEAR, False, "5"),
        ("gemini-3.8-flash-preview", LAST_YEAR, False, None),
        ("gemini-3.8-flash-lite", LAST_YEAR, False, None),
        ("gemini-3.8-flash-preview-09-2026", LAST_YEAR, False, None),
        ("gemini-3.8-flash-0001", LAST_YEAR, False, None),
    ],
)
def test_what_answered_is_priced_by_its_date_and_a_release_as_its_model(
    answered: str, at: datetime, long_context: bool, per_million: str | None
) -> None:
    cost = LISTED.cost(usage(answered, output=1_000_000, long_context=long_context), at)
    assert (cost.amount if cost else None) == (Decimal(per_million) if per_million else None)
