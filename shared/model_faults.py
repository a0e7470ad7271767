"""Whether an engine may name a model, and ask of it what it asks. Pure."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from shared.findings import did_you_mean, quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """Names of models by what they can not do."""

    for_text: AbstractSet[str] = frozenset()
    """Not known to answer with text, piece by piece."""
    for_schemas: AbstractSet[str] = frozenset()
    """They follow no JSON Schema."""


@dataclass(frozen=True, slots=True)
class Models:
    """`known` None: names are not checked. `successors` says for retired models what to take instead."""

    known: AbstractSet[str] | None
    successors: Mapping[str, str]
    unfit: Unfit

    def faults(self, model: str, *, structured: bool) -> Iterator[str]:
        """What speaks against it; `structured`: it is to answer by an `output_schema`."""
        if model in self.successors:
            yield f"{model} is retired; its successor is {self.successors[model]}"
        elif model in self.unfit.for_text:
            yield (
                f"{model} is not known to answer with text: take another model, or ask an administrator to set its"
                " capability text"
            )
        elif self.known is not None and model not in self.known:
            yield f"there is no model {quoted(model)}{did_you_mean(model, self.known)}"
        elif structured and model in self.unfit.for_schemas:
            yield f"{model} follows no output_schema: take another model, or ask for a text"
