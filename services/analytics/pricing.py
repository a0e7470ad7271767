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
    """All prices, past and future ones too."""

    def __init__(self, prices: Iterable[Price]) -> None:
        self._prices: dict[tuple[str, str, TokenKind], list[Price]] = {}
        for price in prices:
            self._prices.setdefault((price.model, price.service_tier, price.kind), []).append(price)
        for listed in self._prices.values():
            listed.sort(key=lambda price: (price.threshold, price.valid_from), reverse=True)
        self.models = frozenset(model for model, _, _ in self._prices)

    def priced_as(self, model: str) -> str:
        """The name whose prices hold for a model that answered: its own if it has any, else that of the model which
        it is a release of. A preview, or any other ending, is another model.
        """
        model = model.removeprefix("models/")
        return model if model in self.models else _RELEASE.sub("", model)

    def find(
        self, model: str, kind: TokenKind, at: datetime, *, long_context: bool, service_tier: str = STANDARD
    ) -> Price | None:
        """The price that holds at `at`: the one for long prompts if they have their own, and the newest."""
        for price in self._prices.get((model, service_tier, kind), ()):
            if price.valid_from <= at and (long_context or price.threshold == 0):
                return price
        return None

    def cost(self, usage: ModelUsage, at: datetime) -> Cost | None:
        """None when a price that is needed is not listed, or when nothing is known of what was used."""
        if usage.tokens.certainty is Certainty.UNKNOWN and not usage.tokens.total:
            return None
        model = self.priced_as(usage.model)
        amount, version = Decimal(0), 0
        for kind, count in billed(usage.tokens):
            price = self.find(model, kind, at, long_context=usage.long_context)
            if price is None:
                return None
            amount += count * price.per_million / _MILLION
            version = max(version, price.version)
        return Cost(amount=amount, price_version=version)


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
