"""What tokens cost. Pure, in exact decimals; a cost that can not be known is None, never zero."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from shared.usage import Certainty, ModelUsage, Tokens

_MILLION, _NOTHING = Decimal(1_000_000), Decimal(0)
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


class Cost(NamedTuple):
    """`price_version` is the newest version among the prices that were used; 0 when none was needed."""

    amount: Decimal
    price_version: int


class _Rate(NamedTuple):
    """A price as it is looked up, for millions of executions. `since` is in UTC: comparing times of two zones takes longer."""

    since: datetime
    threshold: int
    per_token: Decimal
    version: int


# Looked up once: with Python 3.11 each look at a member is a call, and there are millions.
_INPUT, _CACHED, _OUTPUT = TokenKind.INPUT, TokenKind.CACHED, TokenKind.OUTPUT
_THOUGHTS, _TOOL = TokenKind.THOUGHTS, TokenKind.TOOL
_UNKNOWN = Certainty.UNKNOWN


class PriceList:
    """All prices, past and future ones too. Calls are made in the standard service tier, so its prices hold."""

    def __init__(self, prices: Iterable[Price]) -> None:
        self._rates: dict[str, dict[TokenKind, list[_Rate]]] = {}
        for price in sorted(prices, key=lambda price: (price.threshold, price.valid_from), reverse=True):
            of_model = self._rates.setdefault(price.model, {})
            if price.service_tier == STANDARD:
                since, per_token = price.valid_from.astimezone(UTC), price.per_million / _MILLION
                of_model.setdefault(price.kind, []).append(
                    _Rate(since, price.threshold, per_token, price.version)
                )
        self.models = frozenset(self._rates)

    def priced_as(self, model: str) -> str:
        """The name whose prices hold for a model that answered: its own if it has any, else that of the model which
        it is a release of. A preview, or any other ending, is another model.
        """
        if model in self.models:
            return model
        model = model.removeprefix("models/")
        return model if model in self.models else _RELEASE.sub("", model)

    def cost(self, usage: ModelUsage, at: datetime) -> Cost | None:
        """None when a price that is needed is not listed, or when nothing is known of what was used."""
        if usage.tokens.certainty is _UNKNOWN and not usage.tokens.total:
            return None
        listed, long_context = self._rates.get(self.priced_as(usage.model), {}), usage.long_context
        amount, newest = _NOTHING, 0
        for kind, count in billed(usage.tokens):
            # Those for long prompts come first, and of each the newest.
            for rate in listed.get(kind, ()):
                if rate.since <= at and (long_context or not rate.threshold):
                    break
            else:
                return None
            amount += count * rate.per_token
            newest = max(newest, rate.version)
        return Cost(amount, newest)


def billed(tokens: Tokens) -> list[tuple[TokenKind, int]]:
    """Every token once, under the kind that it is billed as. Cached ones are a part of the input."""
    cached = min(tokens.cached, tokens.input)
    counts = (
        (_INPUT, tokens.input - cached),
        (_CACHED, cached),
        (_OUTPUT, tokens.output),
        (_THOUGHTS, tokens.thoughts),
        (_TOOL, tokens.tool),
    )
    return [(kind, count) for kind, count in counts if count]
