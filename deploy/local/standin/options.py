"""Instructions to the stand-in, given per call in the model name, a header or the prompt."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.local.standin.faults import Fault
from shared.errors import Permanent

DIRECTIVE = re.compile(r"\[\[\s*standin\b([^\]]*)\]\]")
_SEPARATOR = re.compile(r"[,\s]+")

Count = Annotated[int, Field(ge=0, le=10_000_000)]
Milliseconds = Annotated[float, Field(ge=0, le=3_600_000)]


class WrongOption(Permanent):
    """An instruction has an unknown name or a value that does not fit; the text names it."""


class UsageReport(StrEnum):
    EACH = "each"
    LAST = "last"
    NONE = "none"


class Options(BaseModel):
    """What one call is told to do. Times in milliseconds unless the name ends in `_s`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_ms: Milliseconds = 30.0
    chunk_ms: Milliseconds = 25.0
    chunks: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    words: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    prompt_tokens: Count | None = None
    output_tokens: Count | None = None
    thoughts: Count = 0
    cached: Count = 0
    tool: Count = 0
    usage: UsageReport = UsageReport.EACH
    answer: Annotated[str, Field(min_length=1, max_length=100)] | None = None  # modelVersion of the answer
    fault: Fault = Fault.NONE
    reason: Annotated[str, Field(pattern="^[A-Z_]{1,60}$")] | None = (
        None  # finishReason, or blockReason of a prompt
    )
    after: Count | None = None  # chunks of text before the fault; None: half of them
    times: Count | None = None  # the fault happens to the first calls with the same id only
    id: Annotated[str, Field(min_length=1, max_length=200)] | None = None  # None: digest of model and prompt
    rpm: Annotated[int, Field(ge=1)] | None = None  # so many calls of the model in 60 s, the others get a 429
    delay_s: Annotated[float, Field(ge=0, le=86_400)] = 1.0  # retryDelay of a 429


def split_model(name: str) -> tuple[str, dict[str, str]]:
    """Splits `gemini-x+chunk_ms=5,fault=cut` into the model's own name and raw options."""
    base, _, instruction = name.partition("+")
    return base, parse(instruction)


def split_prompt(text: str) -> tuple[str, dict[str, str]]:
    """The prompt without its `[[standin ...]]` marks, and their raw options; later marks win.

    A mark with `match=WORD` counts only if the rest of the prompt contains WORD (any case), which
    tells apart the nodes of an engine that all repeat the same input.
    """
    if "[[" not in text:
        return text, {}
    clean = DIRECTIVE.sub("", text)
    options: dict[str, str] = {}
    for mark in DIRECTIVE.finditer(text):
        found = parse(mark[1])
        if found.pop("match", "").lower() in clean.lower():
            options |= found
    return clean, options


def parse(instruction: str) -> dict[str, str]:
    """Raw options of `a=1,b=2` or `a=1 b=2`. Raises WrongOption for a piece without `=`."""
    options: dict[str, str] = {}
    for piece in _SEPARATOR.split(instruction.strip()):
        if not piece:
            continue
        name, equals, value = piece.partition("=")
        if not equals or not name:
            raise WrongOption(f'the stand-in does not understand "{piece}": write name=value')
        options[name] = value
    return options


def resolve(*layers: Mapping[str, object]) -> Options:
    """Options from raw layers, the later ones winning. Raises WrongOption."""
    merged: dict[str, object] = {}
    for layer in layers:
        merged.update(layer)
    try:
        return Options.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(Options.model_fields)
            raise WrongOption(f'the stand-in has no option "{name}"; it knows {known}') from error
        raise WrongOption(f'option "{name}" of the stand-in: {first["msg"]}') from error
