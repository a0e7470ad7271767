"""What tokens cost. Pure, in exact decimals; a cost that can not be known is None, never zero."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from shared.usage import Certainty, ModelUsage, Tokens

_MILLION = Decimal(1_000_000)
STANDARD = "standard"
_RELEASE = re.compile(r"-(\d{3}|\d{4}-\d{2}-\d{2})$")
"""How providers name a release of a model: `gemini-3.8-flash-001`, `gpt-6-2026-10-01`."""


class TokenKind(StrEnum):
    """What a provider has a price for."""

    INPUT = "input"
    CACHED = "cached"
    OUTPUT = "output"
    THOUGHTS = "thoughts"
    TOOL = "tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One price in USD per million tokens, from a moment on, for prompts of `threshold` tokens or more."""

    model: str
    kind: TokenKind
    per_million: Decimal
    valid_from: datetime
    version: int
    threshold: int = 0
    service_tier: str = STANDARD


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """`price_version` is the newest version among the prices that were used; 0 when none was needed."""

    amount: Decimal
    price_version: int


class PriceList:
    """All prices, past and future ones too. Calls are made in the standard service tier, so its prices hold."""

    def __init__(self, prices: Iterable[Price]) -> None:
        self._prices: dict[str, dict[TokenKind, list[Price]]] = {}
        for price in sorted(prices, key=lambda price: (price.threshold, price.valid_from), reverse=True):
            of_model = self._prices.setdefault(price.model, {})
            if price.service_tier == STANDARD:
                of_model.setdefault(price.kind, []).append(price)
        self.models = frozenset(self._prices)

    def priced_as(self, model: str) -> str:
        """The name whose prices hold for a model that answered: its own if it has any, else that of the model which
        it is a release of. A preview, or any other ending, is another model.
        """
        model = model.removeprefix("models/")
        return model if model in self.models else _RELEASE.sub("", model)

    def cost(self, usage: ModelUsage, at: datetime) -> Cost | None:
        """None when a price that is needed is not listed, or when nothing is known of what was used."""
        if usage.tokens.certainty is Certainty.UNKNOWN and not usage.tokens.total:
            return None
        listed = self._prices.get(self.priced_as(usage.model), {})
        millionths, version = Decimal(0), 0
        for kind, count in billed(usage.tokens):
            price = _holding(listed.get(kind, ()), at, long_context=usage.long_context)
            if price is None:
                return None
            millionths += count * price.per_million
            version = max(version, price.version)
        return Cost(amount=millionths / _MILLION, price_version=version)


def _holding(listed: Iterable[Price], at: datetime, *, long_context: bool) -> Price | None:
    """Of the prices of one kind: the one for long prompts if they have their own, and the newest at `at`."""
    for price in listed:
        if price.valid_from <= at and (long_context or price.threshold == 0):
            return price
    return None


def billed(tokens: Tokens) -> list[tuple[TokenKind, int]]:
    """Every token once, under the kind that it is billed as. Cached ones are a part of the input."""
    cached = min(tokens.cached, tokens.input)
    counts = (
        (TokenKind.INPUT, tokens.input - cached),
        (TokenKind.CACHED, cached),
        (TokenKind.OUTPUT, tokens.output),
        (TokenKind.THOUGHTS, tokens.thoughts),
        (TokenKind.TOOL, tokens.tool),
    )
    return [(kind, count) for kind, count in counts if count]
