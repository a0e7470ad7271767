"""What a new price does to those that are there. Pure.

What has begun is never changed: usage was counted at it. So a new price begins now or later; it may begin in the past
only where no price was in force, for tokens that nobody could price until then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

LONG = 200_001
"""Tokens of a prompt from which on some models have prices of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """USD per million tokens of one kind, from a moment on; `version` None as long as it is not stored."""

    service_tier: str
    token_kind: str
    threshold: int
    valid_from: datetime
    price_per_million: Decimal
    currency: str = "USD"
    version: int | None = None

    @property
    def line(self) -> tuple[str, str, str, int]:
        """What one price follows another in."""
        return self.service_tier, self.currency, self.token_kind, self.threshold


@dataclass(frozen=True, slots=True)
class PriceChange:
    """Both empty: all is as it should be already."""

    dropped: Sequence[PriceRow]
    added: Sequence[PriceRow]


class PriceRefused(Exception):
    """`field` names what is wrong in the request; `code` is stable."""

    def __init__(self, code: str, field: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.field = field
        self.detail = detail


def change(there: Sequence[PriceRow], wanted: Sequence[PriceRow], now: datetime) -> PriceChange:
    """What to do so that `wanted` holds. All of `wanted` begin at the same moment, and are of one service tier.

    Raises: PriceRefused.
    """
    _long_is_given(there, wanted)
    if wanted[0].valid_from == now:
        wanted = _new_at(there, wanted, now)
    known = {(price.line, price.valid_from): price for price in there}
    dropped, added = [], []
    for price in wanted:
        same = known.get((price.line, price.valid_from))
        if same is not None and same.price_per_million == price.price_per_million:
            continue
        if same is None:
            _changes_no_past(there, price, now)
        elif same.valid_from <= now:
            raise PriceRefused("price_has_begun", "valid_from", _begun(same.valid_from))
        else:
            dropped.append(same)
        added.append(price)
    return PriceChange(dropped, added)


def _new_at(there: Sequence[PriceRow], wanted: Sequence[PriceRow], now: datetime) -> Sequence[PriceRow]:
    """Those of `wanted` that do not hold at `now` anyway: asked for again, the same price must not begin again."""
    begun = sorted((price for price in there if price.valid_from <= now), key=lambda price: price.valid_from)
    holding = {price.line: price.price_per_million for price in begun}
    return [price for price in wanted if holding.get(price.line) != price.price_per_million]


def _changes_no_past(there: Sequence[PriceRow], price: PriceRow, now: datetime) -> None:
    if price.valid_from >= now:
        return
    for other in there:
        alike = (other.service_tier, other.token_kind) == (price.service_tier, price.token_kind)
        if alike and other.valid_from <= price.valid_from:
            raise PriceRefused("price_has_begun", "valid_from", _begun(other.valid_from))


def _begun(since: datetime) -> str:
    return (
        f"a price that began at {since.isoformat()} held then, and what has begun is never changed; "
        "leave valid_from out, or give a moment in the future"
    )


def _long_is_given(there: Sequence[PriceRow], wanted: Sequence[PriceRow]) -> None:
    """Without it the old prices of long prompts would silently go on."""
    if any(price.threshold for price in wanted):
        return
    first = wanted[0]
    if any(
        price.threshold and price.service_tier == first.service_tier and price.valid_from <= first.valid_from
        for price in there
    ):
        detail = f"is required: the model has prices of its own for prompts from {LONG:,} tokens on"
        raise PriceRefused("long_prices_missing", "long", detail)
