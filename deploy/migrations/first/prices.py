"""The models that are known from the start, and their provider's list prices in USD per million tokens."""

from decimal import Decimal
from typing import NamedTuple

LONG = 200_001
FROM_START = "2025-01-01T00:00:00Z"


class _Price(NamedTuple):
    model: str
    input: str
    output: str
    cached: str
    threshold: int = 0
    valid_from: str = FROM_START


# name, tier, limits of input and output in tokens (none where the provider's figure is not known),
# retirement, successor
_MODELS = (
    ("gemini-3.8-flash", "included", None, None, None, None),
    ("gemini-3.7-flash", "included", None, None, None, None),
    ("gemini-3.6-flash", "included", None, None, None, None),
    ("gemini-3.5-flash", "included", None, None, None, None),
    ("gemini-3.5-flash-lite", "included", None, None, None, None),
    ("gemini-3.1-flash-lite", "included", None, None, None, None),
    ("gemini-3.1-pro-preview", "payg", None, None, None, None),
    ("gemini-2.5-pro", "payg", 1_048_576, 65_536, "2026-12-01T00:00:00Z", "gemini-3.8-flash"),
    ("gemini-2.5-flash", "included", 1_048_576, 65_536, "2026-12-01T00:00:00Z", "gemini-3.5-flash-lite"),
    ("gemini-2.5-flash-lite", "included", 1_048_576, 65_536, None, None),
)

_PRICES = (
    _Price("gemini-2.5-pro", "1.25", "10", "0.125"),
    _Price("gemini-2.5-pro", "2.50", "15", "0.25", LONG),
    _Price("gemini-2.5-flash", "0.30", "2.50", "0.03"),
    _Price("gemini-2.5-flash-lite", "0.10", "0.40", "0.01"),
    _Price("gemini-3.1-flash-lite", "0.25", "1.50", "0.025"),
    _Price("gemini-3.1-pro-preview", "2", "12", "0.20"),
    _Price("gemini-3.1-pro-preview", "4", "18", "0.40", LONG),
    _Price("gemini-3.5-flash", "1.50", "9", "0.15"),
    _Price("gemini-3.5-flash-lite", "0.30", "2.50", "0.03"),
    _Price("gemini-3.6-flash", "0.75", "3.75", "0.075"),
    _Price("gemini-3.7-flash", "0.75", "3.75", "0.075"),
    _Price("gemini-3.8-flash", "0.75", "3.75", "0.075"),
    _Price("gemini-3.8-flash", "1.50", "7.50", "0.15", valid_from="2027-01-01T00:00:00Z"),
)


def _text(value: str | int | None) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else f"'{value}'"


def _price_rows() -> list[str]:
    """Thoughts are billed as output, prompts made by tools as input."""
    rows = []
    for price in _PRICES:
        kinds = {"input": price.input, "cached": price.cached, "output": price.output}
        kinds |= {"thoughts": price.output, "tool": price.input}
        rows += [
            f"('{price.model}', '{kind}', {price.threshold}, '{price.valid_from}', {Decimal(amount)})"
            for kind, amount in kinds.items()
        ]
    return rows


MODELS = (
    "INSERT INTO models (name, tier, input_limit, output_limit, retired_at, successor) VALUES\n"
    + ",\n".join(f"({', '.join(map(_text, model))})" for model in _MODELS)
    + ";"
)
PRICES = (
    "INSERT INTO model_prices (model, token_kind, threshold, valid_from, price_per_million) VALUES\n"
    + ",\n".join(_price_rows())
    + ";"
)
