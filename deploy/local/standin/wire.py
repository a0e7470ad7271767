"""The JSON of answers, field for field as the API writes it: zero counts are left out."""

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from deploy.local.standin.problems import Problem

JSON = b"application/json; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Usage:
    """Cumulative token counts of one answer. `prompt` includes `cached`; nothing else overlaps."""

    prompt: int
    candidates: int = 0
    thoughts: int = 0
    tool: int = 0
    cached: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.candidates + self.thoughts + self.tool

    def wire(self) -> dict[str, object]:
        counts: dict[str, object] = {"promptTokenCount": self.prompt}
        if self.candidates:
            counts["candidatesTokenCount"] = self.candidates
        counts["totalTokenCount"] = self.total
        if self.cached:
            counts["cachedContentTokenCount"] = self.cached
        counts["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": self.prompt}]
        if self.thoughts:
            counts["thoughtsTokenCount"] = self.thoughts
        if self.tool:
            counts["toolUsePromptTokenCount"] = self.tool
        return counts


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every chunk of one answer repeats."""

    model_version: str
    response_id: str


Parts = list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class Framing:
    """How the chunks of a stream follow each other: `lead` before the first, `between` before the others."""

    content_type: bytes
    lead: bytes
    between: bytes
    after: bytes
    tail: bytes

    def framed(self, number: int, data: bytes) -> bytes:
        return (self.between if number else self.lead) + data + self.after


EVENT_STREAM = Framing(b"text/event-stream", b"data: ", b"data: ", b"\r\n\r\n", b"")
JSON_ARRAY = Framing(JSON, b"[", b",\r\n", b"", b"]")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an API writes. `answer` is one chunk: its parts (None: no content at all), `finishReason` and usage."""

    answer: Callable[[Stamp, Parts | None, str | None, Usage | None], bytes]
    blocked: Callable[[Stamp, str, Usage | None], bytes]
    error: Callable[[Problem], dict[str, object]]


def _candidate(parts: Parts | None, finish: str | None) -> dict[str, object]:
    body: dict[str, object] = {}
    if parts is not None:
        body["content"] = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    if finish is not None:
        body["finishReason"] = finish
    body["index"] = 0
    return body


def _answer(stamp: Stamp, parts: Parts | None, finish: str | None, usage: Usage | None) -> bytes:
    nothing = parts is None and finish is None
    return _finish({} if nothing else {"candidates": [_candidate(parts, finish)]}, stamp, usage)


def _blocked(stamp: Stamp, reason: str, usage: Usage | None) -> bytes:
    """The answer to a prompt that was refused: feedback and no candidates."""
    return _finish({"promptFeedback": {"blockReason": reason}}, stamp, usage)


GEMINI = Dialect(_answer, _blocked, Problem.body)


def _finish(chunk: dict[str, object], stamp: Stamp, usage: Usage | None) -> bytes:
    if usage is not None:
        chunk["usageMetadata"] = usage.wire()
    chunk["modelVersion"] = stamp.model_version
    chunk["responseId"] = stamp.response_id
    return orjson.dumps(chunk)


def count(tokens: int) -> bytes:
    """The answer of countTokens."""
    details = [{"modality": "TEXT", "tokenCount": tokens}]
    return orjson.dumps({"totalTokens": tokens, "promptTokensDetails": details})
