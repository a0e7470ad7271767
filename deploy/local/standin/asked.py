"""Reads a request body, in either spelling of its field names, into plain values."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import orjson

from deploy.local.standin.problems import Refused, broken_json, invalid, missing_contents

_MEDIA_TOKENS = 258  # what the API counts for an image


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a call wants. `system` and `prompt` are the joined text parts, marks included."""

    system: str
    prompt: str
    first: str
    """The first turn alone, which stays the same when a conversation goes on."""
    media: int
    wants_json: bool
    schema: Mapping[str, object] | bool | None
    enum: bool
    max_output_tokens: int | None
    stop_sequences: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"{self.system}\n{self.prompt}" if self.system else self.prompt

    @property
    def prompt_tokens(self) -> int:
        return tokens_of(self.text) + _MEDIA_TOKENS * self.media


def tokens_of(text: str) -> int:
    """Four characters a token, rounded up; no text, no token."""
    return math.ceil(len(text) / 4)


def read(body: bytes) -> Asked:
    """Raises Refused for what the API answers with 400."""
    return read_request(read_object(body))


def read_object(body: bytes) -> Mapping[str, object]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(broken_json(f"Expected a value. {error}")) from error
    if not isinstance(value, dict):
        raise Refused(broken_json("Root element must be a message."))
    return cast("Mapping[str, object]", value)


def read_request(request: Mapping[str, object]) -> Asked:
    contents = pick(request, "contents")
    if not isinstance(contents, list) or not contents:
        raise Refused(missing_contents())
    config = _mapping(pick(request, "generationConfig"), "generation_config")
    system, system_media = _parts(_mapping(pick(request, "systemInstruction"), "system_instruction"))
    turns = [_parts(_mapping(content, f"contents[{i}]")) for i, content in enumerate(contents)]
    if not any(text or media for text, media in turns):
        raise Refused(invalid("* GenerateContentRequest.contents: contents.parts must not be empty.\n"))
    mime = pick(config, "responseMimeType")
    return Asked(
        system=system,
        prompt="\n".join(text for text, _ in turns),
        first=turns[0][0],
        media=system_media + sum(media for _, media in turns),
        wants_json=mime == "application/json",
        schema=_schema(config),
        enum=mime == "text/x.enum",
        max_output_tokens=_integer(pick(config, "maxOutputTokens"), "max_output_tokens"),
        stop_sequences=_strings(pick(config, "stopSequences"), "stop_sequences"),
    )


def pick(source: Mapping[str, object], name: str) -> object:
    """A field by its camelCase name, or by the same name in snake_case."""
    value = source.get(name)
    return source.get(snake(name)) if value is None else value


@lru_cache(maxsize=256)
def snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), name)


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused(broken_json(f"Invalid value at '{where}', expected a message."))
    return cast("Mapping[str, object]", value)


def _parts(content: Mapping[str, object]) -> tuple[str, int]:
    """The joined texts of a content, and how many of its parts are something else."""
    parts = content.get("parts") or ()
    if isinstance(parts, dict):
        parts = (parts,)
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        raise Refused(broken_json("Invalid value at 'contents.parts', expected a list."))
    texts = []
    media = 0
    for part in parts:
        text = _mapping(part, "parts").get("text")
        if isinstance(text, str):
            texts.append(text)
        else:
            media += 1
    return "\n".join(texts), media


def _schema(config: Mapping[str, object]) -> Mapping[str, object] | bool | None:
    for name in ("responseJsonSchema", "responseSchema"):
        value = pick(config, name)
        if isinstance(value, dict | bool):
            return value
        if value is not None:
            raise Refused(broken_json(f"Invalid value at 'generation_config.{snake(name)}'."))
    return None


def _integer(value: object, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and value.isdigit():
        value = int(value)  # 64-bit integers may be strings in this API's JSON
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused(broken_json(f"Invalid value at 'generation_config.{where}' (TYPE_INT32), {value!r}"))
    if value < 1:
        raise Refused(invalid(f"* GenerateContentRequest.generation_config.{where}: must be positive.\n"))
    return value


def _strings(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Refused(broken_json(f"Invalid value at 'generation_config.{where}', expected a list of text."))
    return tuple(item for item in value if item)
