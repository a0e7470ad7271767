"""Which provider a model's name belongs to. Pure.

A name that begins with a known prefix and `/` goes to that provider, which sees the rest of it; all others to Gemini.
"""

from dataclasses import dataclass

from shared import providers


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """`system` as in `gen_ai.provider.name`; `label` as people are told."""

    system: str
    label: str


OPENAI_PREFIX = providers.OPENAI
GEMINI = Brand(system="gcp.gemini", label="Gemini")
BRANDS = {OPENAI_PREFIX: Brand(system="openai", label="The OpenAI-compatible endpoint")}


def brand_of(model: str) -> Brand:
    prefix, slash, _ = model.partition("/")
    return BRANDS.get(prefix, GEMINI) if slash else GEMINI
