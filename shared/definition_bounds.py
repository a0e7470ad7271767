"""How much a definition may hold, counted before any of it is parsed, compiled or compared. Pure.

To count takes as long as the definition is; what comes after takes much longer for each token and each value. Engines that
were stored by an earlier release may be larger: they can still be read.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Environment, TemplateSyntaxError

from shared.findings import Problem
from shared.workflow import AnyNode, Engine, GenerateTask

MAX_INPUTS = 200
MAX_TEMPLATES = 500
"""Prompts, templates, conditions and other expressions of one engine."""
MAX_TEMPLATE_TOKENS = 5_000
"""Of all templates of one engine. Text outside of the braces is one token, as long as it may be."""
MAX_NESTED_BLOCKS = 15
"""`for`, `if` and other blocks within each other: what compiling them takes grows with the depth."""
MAX_SCHEMA_VALUES = 2_000
"""Members and elements, at any level, of one output schema, and of all those of one engine."""
MAX_PATTERN_CHARACTERS = 20_000
"""Of all regular expressions in the output schemas of one engine: each is compiled."""

_LEXER = Environment(autoescape=True).lexer  # nothing is rendered
_BLOCKS = frozenset({"autoescape", "block", "call", "filter", "for", "if", "macro", "with"})

_ENDS = frozenset("end" + name for name in _BLOCKS)


def bound_problems(engine: Engine) -> Iterator[Problem]:
    """One for each bound that the engine passes, where it does."""
    if len(engine.inputs) > MAX_INPUTS:
        yield Problem(None, "inputs", f"are {len(engine.inputs):,}, and {MAX_INPUTS:,} is the most")
    count = sum(1 for node in engine.nodes for _ in node.sources())
    if count > MAX_TEMPLATES:
        detail = f"have {count:,} prompts, templates and expressions, and {MAX_TEMPLATES:,} is the most"
        yield Problem(None, "nodes", detail)
    else:
        yield from _template_problems(engine)
    yield from _schema_problems(engine)


def _template_problems(engine: Engine) -> Iterator[Problem]:
    """The first template that is too much: those after it are not looked at."""
    total = 0
    for node in engine.nodes:
        for source in node.sources():
            tokens, nested = _measured(source.text, MAX_TEMPLATE_TOKENS - total)
            total += tokens
            if total > MAX_TEMPLATE_TOKENS:
                detail = (
                    f"has more than {tokens - 1:,} tokens (names, signs, texts between braces), and all templates of an "
                    f"engine together may have {MAX_TEMPLATE_TOKENS:,}"
                )
                yield _at(node, source.field, detail)
                return
            if nested > MAX_NESTED_BLOCKS:
                detail = f"has {nested:,} blocks within each other, and {MAX_NESTED_BLOCKS:,} is the most"
                yield _at(node, source.field, detail)
                return


def _measured(text: str, most: int) -> tuple[int, int]:
    """Tokens, at most one more than `most`, and how deep its blocks are nested.

    As far as it can be read: what follows is not parsed either.
    """
    tokens = depth = deepest = 0
    before = ""
    try:
        for _, kind, value in itertools.islice(_meant(text), most + 1):
            tokens += 1
            if before == "block_begin" and kind == "name":
                depth += (value in _BLOCKS) - (value in _ENDS)
                deepest = max(deepest, depth)
            before = kind
    except TemplateSyntaxError:
        pass  # told by who parses it
    return tokens, deepest


def _meant(text: str) -> Iterator[tuple[int, str, str]]:
    return (token for token in _LEXER.tokeniter(text, None) if token[1] != "whitespace")


def _schema_problems(engine: Engine) -> Iterator[Problem]:
    """The first schema with which it is too much."""
    total = characters = 0
    for node in engine.nodes:
        for prefix, task, _ in node.parts():
            if not isinstance(task, GenerateTask) or task.output_schema is None:
                continue
            count, in_patterns = _held(task.output_schema)
            total += count
            characters += in_patterns
            if characters > MAX_PATTERN_CHARACTERS:
                detail = (
                    f"has {in_patterns:,} characters in patterns, and all output schemas of an engine together may have "
                    f"{MAX_PATTERN_CHARACTERS:,}"
                )
                yield _at(node, f"{prefix}output_schema", detail)
                return
            if total > MAX_SCHEMA_VALUES:
                detail = f"has {count:,} values, and all output schemas of an engine together may have {MAX_SCHEMA_VALUES:,}"
                yield _at(node, f"{prefix}output_schema", detail)
                return


def _held(schema: object) -> tuple[int, int]:
    """Values, and characters of patterns."""
    count = characters = 0
    waiting = [schema]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict):
            characters += sum(len(pattern) for pattern in _patterns(here))
        if isinstance(here, dict | list):
            count += len(here)
            waiting.extend(here.values() if isinstance(here, dict) else here)
    return count, characters


def _patterns(schema: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(schema.get("pattern"), str):
        yield schema["pattern"]
    if isinstance(schema.get("patternProperties"), dict):
        yield from schema["patternProperties"]


def _at(node: AnyNode, field: str, detail: str) -> Problem:
    return Problem(node.id, f"nodes.{node.id}.{field}", detail)
