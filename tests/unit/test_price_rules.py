"""New prices: what has begun is never changed, the same again changes nothing."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.gateway.price_rules import LONG, PriceChange, PriceRefused, PriceRow, change

NOW = datetime(2026, 11, 26, tzinfo=UTC)
BEFORE, LATER, LATEST = NOW - timedelta(days=300), NOW + timedelta(days=36), NOW + timedelta(days=400)


def row(
    amount: str, since: datetime, *, threshold: int = 0, kind: str = "input", tier: str = "standard"
) -> PriceRow:
    return PriceRow(
        service_tier=tier, token_kind=kind, threshold=threshold, valid_from=since, price_per_million=Decimal(amount)
    )  # fmt: skip


THERE = [row("0.75", BEFORE), row("1.50", LATER)]


@pytest.mark.parametrize(
    ("wanted", "dropped", "added"),
    [
        ([row("9", LATEST)], [], [row("9", LATEST)]),
        ([row("1.50", LATER)], [], []),
        ([row("1.500", LATER)], [], []),
        ([row("2", LATER)], [THERE[1]], [row("2", LATER)]),
        ([row("0.75", BEFORE)], [], []),
        ([row("0.75", NOW)], [], []),
        ([row("0.80", NOW)], [], [row("0.80", NOW)]),
        ([row("5", BEFORE, kind="output")], [], [row("5", BEFORE, kind="output")]),
        ([row("5", BEFORE - timedelta(days=1))], [], [row("5", BEFORE - timedelta(days=1))]),
        ([row("5", BEFORE, tier="batch")], [], [row("5", BEFORE, tier="batch")]),
        ([row("1", LATEST), row("2", LATEST, threshold=LONG)], [], [row("1", LATEST), row("2", LATEST, threshold=LONG)]),
    ],
)  # fmt: skip
def test_prices_begin_now_or_later_or_where_there_were_none(
    wanted: list[PriceRow], dropped: list[PriceRow], added: list[PriceRow]
) -> None:
    assert change(THERE, wanted, NOW) == PriceChange(dropped, added)


@pytest.mark.parametrize(
    "wanted",
    [
        row("0.76", BEFORE),
        row("0.76", BEFORE + timedelta(days=1)),
        row("0.75", NOW - timedelta(microseconds=1)),
        row("2", BEFORE + timedelta(days=1), threshold=LONG),
    ],
)
def test_what_has_begun_is_never_changed(wanted: PriceRow) -> None:
    with pytest.raises(PriceRefused) as refused:
        change(THERE, [wanted], NOW)
    assert (refused.value.code, refused.value.field) == ("price_has_begun", "valid_from")


def test_prices_of_long_prompts_do_not_go_on_unseen() -> None:
    there = [*THERE, row("3", BEFORE, threshold=LONG)]
    with pytest.raises(PriceRefused) as refused:
        change(there, [row("1", LATEST)], NOW)
    assert (refused.value.code, refused.value.field) == ("long_prices_missing", "long")
    both = [row("1", LATEST), row("1", LATEST, threshold=LONG)]
    assert change(there, both, NOW) == PriceChange([], both)
