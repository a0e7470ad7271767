"""Decides the words, the token counts and the pieces of an answer, before anything is framed."""

import itertools
import re
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Any

import orjson

from deploy.local.standin import prose, schema
from deploy.local.standin.asked import Asked, tokens_of
from deploy.local.standin.faults import Fault
from deploy.local.standin.options import Options
from deploy.local.standin.problems import Refused, invalid
from deploy.local.standin.subject import Subject, find
from deploy.local.standin.wire import Usage

_TOKEN = re.compile(r"\S+\s*|\s+")
_FREE_JSON = {"type": "object", "properties": {"title": {"type": "string"}, "text": {"type": "string"}}}


@dataclass(frozen=True, slots=True)
class Plan:
    """`chars` and `usage` are those of the whole answer; `output` overrides its candidate tokens."""

    pieces: tuple[str, ...]
    chars: int
    finish: str
    usage: Usage
    output: int | None

    def usage_at(self, chars: int) -> Usage:
        """What has been used once the first `chars` characters exist."""
        if self.output is None:
            candidates = (chars + 3) // 4
        else:
            candidates = self.output * chars // self.chars if self.chars else self.output
        return Usage(self.usage.prompt, candidates, self.usage.thoughts, self.usage.tool, self.usage.cached)


def digest(model: str, prompt: str) -> str:
    """Names a model and prompt; also the seed of the text."""
    return blake2b(f"{model}\0{prompt}".encode(), digest_size=8).hexdigest()


def plan(asked: Asked, clean_prompt: str, model: str, options: Options) -> Plan:
    """The same request, model and options give the same plan. `clean_prompt` has no marks."""
    seed = int(digest(model, clean_prompt), 16)
    text = _text(asked, clean_prompt, seed, options)
    for stop in asked.stop_sequences:
        text = text.partition(stop)[0]
    finish, thoughts, limit = "STOP", options.thoughts, asked.max_output_tokens
    if limit is not None and thoughts + tokens_of(text) > limit:
        finish, thoughts = "MAX_TOKENS", min(thoughts, limit)
        text = text[: 4 * (limit - thoughts)]
    if options.fault is Fault.MAX_TOKENS:
        finish = "MAX_TOKENS"
    finish = options.reason or finish
    prompt = asked.prompt_tokens if options.prompt_tokens is None else options.prompt_tokens
    output = tokens_of(text) if options.output_tokens is None else options.output_tokens
    usage = Usage(max(prompt, options.cached), output, thoughts, options.tool, options.cached)
    rng = Random(seed)  # noqa: S311 - answers must be repeatable, not secret
    return Plan(cut(text, options.chunks, rng), len(text), finish, usage, options.output_tokens)


def _text(asked: Asked, prompt: str, seed: int, options: Options) -> str:
    """The whole text before limits: prose, one of a choice, or JSON."""
    subject = find(prompt)
    if asked.enum:
        return str(_made(asked.schema or {}, subject, prompt, seed))
    if not asked.wants_json:
        words = options.words
        if words is None and options.chunks is not None:
            words = max(options.chunks, subject.length or 0, 40)
        text = prose.write(subject, seed, words)
    elif options.fault is Fault.BROKEN_SCHEMA:
        text = orjson.dumps(schema.broken(asked.schema)).decode()
    else:
        wanted = _FREE_JSON if asked.schema is None else asked.schema
        text = orjson.dumps(_made(wanted, subject, prompt, seed), option=orjson.OPT_INDENT_2).decode()
    return text[: len(text) // 2] if options.fault is Fault.TRUNCATED_JSON else text


def _made(wanted: schema.Schema | bool, subject: Subject, prompt: str, seed: int) -> Any:
    """A value for a schema. Raises Refused for one that is no schema, such as a list of properties."""
    try:
        return schema.Maker(wanted, subject, prompt, seed).make()
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        message = f"* GenerateContentRequest.generation_config.response_schema: {error}\n"
        raise Refused(invalid(message)) from error


def cut(text: str, chunks: int | None, rng: Random) -> tuple[str, ...]:
    """Cuts a text between words into `chunks` pieces, or into pieces of three to eight words.

    More chunks than words cut inside of words; more chunks than characters can not be had.
    """
    tokens = _TOKEN.findall(text)
    if not tokens:
        return ()
    if chunks is None:
        bounds = [0]
        while bounds[-1] < len(tokens):
            bounds.append(bounds[-1] + rng.randint(3, 8))
    else:
        tokens = list(text) if chunks > len(tokens) else tokens
        chunks = min(chunks, len(tokens))
        bounds = [i * len(tokens) // chunks for i in range(chunks + 1)]
    return tuple("".join(tokens[a:b]) for a, b in itertools.pairwise(bounds))
