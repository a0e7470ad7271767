"""Templates: sandboxed Jinja2 over inputs and finished nodes. Pure."""

import functools
import re
from collections.abc import Callable, Mapping, Sized
from typing import Any

from jinja2 import StrictUndefined, Template, Undefined
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from shared.errors import Permanent
from shared.pieces import pieces

FILTERS: Mapping[str, Callable[..., object]] = {"pieces": pieces}
"""What there is beside Jinja's own."""
MAX_RENDERED = 16_000_000
"""Characters that one template may give."""
MAX_EXPONENT = 64


class TemplateProblem(Permanent):
    """A template can not be parsed, names what does not exist, or failed while rendering."""


class TemplateTooLarge(TemplateProblem):
    """It needs more memory than there is for it."""


class _Sandbox(ImmutableSandboxedEnvironment):
    """Without the operators that make a huge value out of two small ones. Intercepted ones are not worked out while
    compiling either.
    """

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and not _small_power(left, right):
            raise SecurityError("the power is too large")
        if operator == "*" and _length(left) * _length(right) > MAX_RENDERED:
            raise SecurityError("the product is too large")
        return super().call_binop(context, operator, left, right)


def _small_power(base: Any, exponent: Any) -> bool:
    return (
        isinstance(base, int | float) and isinstance(exponent, int | float) and abs(exponent) <= MAX_EXPONENT
    )


def _length(value: Any) -> int:
    """How much longer a product becomes by this factor, roughly."""
    if isinstance(value, int):
        return max(1, abs(value)) if value.bit_length() <= 64 else MAX_RENDERED + 1
    return max(1, len(value)) if isinstance(value, Sized) else 1


def without_chance(environment: ImmutableSandboxedEnvironment) -> ImmutableSandboxedEnvironment:
    """Takes away what gives another value each time: whoever plans an execution anew must come to the same."""
    del environment.filters["random"]
    del environment.globals["lipsum"]
    return environment


_TEXT = _Sandbox(
    undefined=StrictUndefined,
    autoescape=False,
    keep_trailing_newline=True,
    optimized=False,  # else constant expressions are worked out while compiling
)
without_chance(_TEXT)
_TEXT.filters |= FILTERS
ONE_EXPRESSION = re.compile(r"^\s*\{\{(?P<expression>.+)\}\}\s*$", re.DOTALL)
"""What looks like one expression; two look like one too."""


@functools.lru_cache(maxsize=512)
def _compiled(source: str) -> Template:
    return _TEXT.from_string(source)


def render(source: str, values: Mapping[str, Any]) -> str:
    """The text that a template gives for these values.

    Raises: TemplateProblem, when a name or attribute is missing, the sandbox refuses, or it grows too large.
    """
    pieces: list[str] = []
    size = 0
    try:
        for piece in _compiled(source).generate(**values):
            size += len(piece)
            if size > MAX_RENDERED:
                raise TemplateProblem(f"the text grows over {MAX_RENDERED:,} characters")
            pieces.append(piece)
    except Permanent:
        raise
    except MemoryError:
        raise TemplateTooLarge("it needs too much memory") from None
    except Exception as error:  # noqa: BLE001 - a template is somebody's program: what it raises is its fault
        raise TemplateProblem(f"{type(error).__name__}: {error}") from None
    text = "".join(pieces)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TemplateProblem("the text has half a character in it, which can not be stored") from None
    return text


def evaluate(source: str, values: Mapping[str, Any]) -> object:
    """The value, not the text, of one expression in `{{ }}`, such as `{{ outline.parts }}`.

    Raises: TemplateProblem, as `render`, and when `source` is not one expression.
    """
    match = ONE_EXPRESSION.match(source)
    if match is None:
        raise TemplateProblem("give one expression in {{ }}, such as {{ outline.parts }}")
    try:
        value = _TEXT.compile_expression(match["expression"], undefined_to_none=False)(**values)
    except Permanent:
        raise
    except MemoryError:
        raise TemplateTooLarge("it needs too much memory") from None
    except Exception as error:  # noqa: BLE001 - as above
        raise TemplateProblem(f"{type(error).__name__}: {error}") from None
    if isinstance(value, Undefined):
        raise TemplateProblem(f"{match['expression'].strip()} does not exist")
    return value
