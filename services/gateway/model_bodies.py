"""Models as they go in and out over HTTP. Prices are decimal texts: floating point is not exact."""

import re
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.json_schema import WithJsonSchema
from pydantic_core import PydanticCustomError

from services.gateway.model_store import ModelRow
from services.gateway.price_rules import LONG, PriceRow
from shared.providers import PREFIXES
from shared.usage import Tier

NAME_PATTERN = (
    rf"^(({'|'.join(PREFIXES)})/[A-Za-z0-9][A-Za-z0-9._:@/-]{{0,150}}|[A-Za-z0-9][A-Za-z0-9._-]{{0,150}})$"
)
"""Of a provider other than Gemini the name begins with `<provider>/`; what follows is the provider's own."""
_AMOUNT = r"\d{1,8}(\.\d{1,4})?"

ModelName = Annotated[str, Field(pattern=NAME_PATTERN)]
TokenLimit = Annotated[int, Field(ge=1, le=2_147_483_647)]
Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]+$")]


def is_model_name(name: str) -> bool:
    return re.fullmatch(NAME_PATTERN, name) is not None


def _amount(value: object) -> Decimal:
    if not isinstance(value, str) or re.fullmatch(_AMOUNT, value) is None:
        raise PydanticCustomError(
            "amount", 'must be a decimal text such as "0.75": USD per million tokens, at most four decimals'
        )
    return Decimal(value)


Amount = Annotated[
    Decimal,
    BeforeValidator(_amount),
    WithJsonSchema({"type": "string", "pattern": f"^{_AMOUNT}$", "examples": ["0.75"]}),
]


class Capabilities(BaseModel):
    """What a model can do. Engines may name those that answer with `text` and are `streaming`, and ask for JSON by a
    schema of those with `structured_output`. `thinking`: it can think before it answers, which is billed as thoughts.
    """

    model_config = ConfigDict(extra="ignore")

    text: bool = True
    streaming: bool = True
    structured_output: bool = True
    thinking: bool = False


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ModelBody(_Body):
    """A model as a superadmin sets it, whole: what is left out is unknown, and the model not retired."""

    tier: Tier
    capabilities: Capabilities = Capabilities()
    input_limit: TokenLimit | None = None
    output_limit: TokenLimit | None = None
    retired_at: AwareDatetime | None = None
    successor: ModelName | None = None
    reason: Reason | None = None

    @model_validator(mode="after")
    def _only_retired_ones_have_successors(self) -> Self:
        if self.successor is not None and self.retired_at is None:
            raise PydanticCustomError("successor", "successor is for a model with retired_at")
        return self


class Rates(_Body):
    """USD per million tokens. Left out: cached tokens and those made by tools cost as input, thoughts as output."""

    input: Amount
    output: Amount
    cached: Amount | None = None
    thoughts: Amount | None = None
    tool: Amount | None = None

    def by_kind(self) -> dict[str, Decimal]:
        return {
            "input": self.input,
            "cached": self.input if self.cached is None else self.cached,
            "output": self.output,
            "thoughts": self.output if self.thoughts is None else self.thoughts,
            "tool": self.input if self.tool is None else self.tool,
        }


class PriceBody(Rates):
    """Prices from `valid_from` on, from now without it. `long`: those of prompts over 200,000 tokens."""

    valid_from: AwareDatetime | None = None
    long: Rates | None = None
    service_tier: Literal["standard", "batch", "flex", "priority"] = "standard"
    currency: Literal["USD"] = "USD"
    reason: Reason | None = None

    def rows(self, valid_from: datetime) -> list[PriceRow]:
        every: list[tuple[int, Rates]] = [(0, self)] + ([(LONG, self.long)] if self.long else [])
        return [
            PriceRow(
                service_tier=self.service_tier,
                token_kind=kind,
                threshold=threshold,
                valid_from=valid_from,
                price_per_million=amount,
                currency=self.currency,
            )
            for threshold, rates in every
            for kind, amount in rates.by_kind().items()
        ]


class Model(BaseModel):
    """`retired`: no engine may name it any more; `successor` is what to take instead. `unlisted_at`: since when the
    provider does not list it. Limits in tokens, null where they are not known.
    """

    name: str
    provider: str
    tier: Tier
    capabilities: Capabilities
    input_limit: int | None
    output_limit: int | None
    retired: bool
    retired_at: datetime | None
    successor: str | None
    unlisted_at: datetime | None

    @classmethod
    def of(cls, row: ModelRow, now: datetime) -> Self:
        return cls(**_fields(row, now))


class ModelList(BaseModel):
    items: list[Model]
    next_cursor: None = None


class PriceAnswer(BaseModel):
    """Holds from `valid_from` until the next of its kind, for prompts from `threshold` tokens on."""

    service_tier: str
    token_kind: str
    threshold: int
    valid_from: datetime
    currency: str
    price_per_million: Annotated[Decimal, WithJsonSchema({"type": "string"})]
    version: int


class AdminModel(Model):
    prices: list[PriceAnswer]

    @classmethod
    def priced(cls, row: ModelRow, prices: Iterable[PriceRow], now: datetime) -> Self:
        listed = [PriceAnswer.model_validate(price, from_attributes=True) for price in prices]
        return cls(**_fields(row, now), prices=listed)


class AdminModelList(BaseModel):
    items: list[AdminModel]
    next_cursor: None = None


class Retired(AdminModel):
    used_by: int
    """Published engines that still name it."""


class Refreshed(BaseModel):
    """Names, by what became of them. `undecided` are those of `added` that no engine may name until a superadmin says
    that they answer with text: their provider does not say what they do.
    """

    providers: list[str]
    added: list[str]
    undecided: list[str]
    changed: list[str]
    unlisted: list[str]
    listed_again: list[str]


def _fields(row: ModelRow, now: datetime) -> dict[str, Any]:
    return {
        "name": row.name,
        "provider": row.provider,
        "tier": row.tier,
        "capabilities": Capabilities.model_validate(dict(row.capabilities)),
        "input_limit": row.input_limit,
        "output_limit": row.output_limit,
        "retired": row.retired(now),
        "retired_at": row.retired_at,
        "successor": row.successor,
        "unlisted_at": row.unlisted_at,
    }
