"""Token counts: what they mean, and how they add up.

Unknown is not zero: a count says how certain it is, and a sum is as certain as its weakest part.
"""

from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum

from pydantic import NonNegativeInt, computed_field
from pydantic.dataclasses import dataclass


class Certainty(StrEnum):
    """How a count was come by, from strongest to weakest."""

    MEASURED = "measured"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"


MOST_ZONES = 4
"""Time zones of one user in which analytics keeps days of usage summed; and which are asked for within a day, since whoever
counts waits while a long range is closed.
"""
_WEAKNESS = {Certainty.MEASURED: 0, Certainty.ESTIMATED: 1, Certainty.UNKNOWN: 2}


def weakest(certainties: Iterable[Certainty]) -> Certainty:
    """The least certain one; of nothing, `measured`."""
    return max(certainties, key=_WEAKNESS.__getitem__, default=Certainty.MEASURED)


class Tier(StrEnum):
    """How a model is paid for by the person who runs it."""

    INCLUDED = "included"
    PAYG = "payg"


class Kind(StrEnum):
    """What tiers the models of an execution have; `none` when it calls no model."""

    INCLUDED = "included"
    PAYG = "payg"
    MIXED = "mixed"
    NONE = "none"


def kind_of(tiers: Iterable[Tier]) -> Kind:
    """The kind of an execution whose models have these tiers."""
    found = set(tiers)
    if not found:
        return Kind.NONE
    if len(found) > 1:
        return Kind.MIXED
    return Kind.INCLUDED if Tier.INCLUDED in found else Kind.PAYG


# Dataclasses, which are read in half of the time that models take: there are thousands a second.


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Token counts. `input` includes `cached`; `total` = input + output + thoughts + tool."""

    input: NonNegativeInt = 0
    cached: NonNegativeInt = 0
    output: NonNegativeInt = 0
    thoughts: NonNegativeInt = 0
    tool: NonNegativeInt = 0
    certainty: Certainty = Certainty.MEASURED

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        return self.input + self.output + self.thoughts + self.tool

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(
            input=self.input + other.input,
            cached=self.cached + other.cached,
            output=self.output + other.output,
            thoughts=self.thoughts + other.thoughts,
            tool=self.tool + other.tool,
            certainty=weakest((self.certainty, other.certainty)),
        )


def total_tokens(parts: Iterable[Tokens]) -> Tokens:
    """The sum; of nothing, zero measured tokens."""
    total = Tokens()
    for part in parts:
        total = total + part
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsage:
    """What `calls` calls used that were answered by `model` (the answer's modelVersion).

    One item per (model, tier, certainty). `tokens.certainty` is that certainty. `long_context` tells that the
    prompt was over the threshold above which some models have other prices.
    """

    model: str
    tier: Tier
    tokens: Tokens
    calls: NonNegativeInt = 1
    long_context: bool = False


def merge_usage(parts: Iterable[ModelUsage]) -> tuple[ModelUsage, ...]:
    """Usage summed per (model, tier, certainty, long_context), in a stable order."""
    given = tuple(parts)
    if len(given) < 2:  # nearly all of the millions that are counted
        return given
    sums: dict[tuple[str, str, str, bool], ModelUsage] = {}
    for part in given:
        key = (part.model, part.tier.value, part.tokens.certainty.value, part.long_context)
        seen = sums.get(key)
        sums[key] = (
            part
            if seen is None
            else replace(seen, tokens=seen.tokens + part.tokens, calls=seen.calls + part.calls)
        )
    return tuple(sums[key] for key in sorted(sums))
