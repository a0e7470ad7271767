"""Values that follow a schema, JSON Schema or the API's own OpenAPI-like form of it."""

import math
import re
from collections.abc import Callable, Mapping
from random import Random
from typing import Any
from uuid import UUID

from deploy.local.standin.prose import heading, sentence
from deploy.local.standin.subject import Subject

_DEEP = 5  # from here on only what is required
_MOST_ITEMS = 1_000
_LONGEST_TEXT = 20_000
_TITLES = re.compile(r"(?:^|_)(?:title|heading|headline|name|label|caption)$")
_COUNTERS = re.compile(r"(?:^|_)(?:number|index|position|order|no|chapter|part|step|rank)$")
_TAGS = re.compile(r"(?:^|_)(?:tags?|keywords?|words?|genre|tone|style|category|topic|theme)s?$")
_NUMERALS = {
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
}
_ASKED_COUNT = re.compile(
    r"\b(\d{1,3}|" + "|".join(_NUMERALS) + r")\s+(?:[a-z-]+\s+)?"
    r"(chapter|part|section|item|title|point|step|question|idea|scene|keyword)s\b",
    re.IGNORECASE,
)
_FORMATS = {
    "date-time": "2026-03-{:02d}T09:30:00Z",
    "date": "2026-03-{:02d}",
    "time": "09:30:{:02d}Z",
    "email": "reader{}@example.org",
    "uri": "https://example.org/{}",
    "url": "https://example.org/{}",
}

Schema = Mapping[str, Any]


class Maker:
    """Makes one value; the same seed makes the same one. Wishes that contradict each other: best effort."""

    def __init__(self, schema: Schema | bool, subject: Subject, prompt: str, seed: int) -> None:
        self._root: Schema = schema if isinstance(schema, Mapping) else {}
        self._subject = subject
        self._rng = Random(seed)  # noqa: S311 - answers must be repeatable, not secret
        found = _ASKED_COUNT.search(prompt)
        self._asked = (_NUMERALS.get(found[1].lower()) or int(found[1])) if found else None

    def make(self) -> Any:
        return self._value(self._root, "", 0, 0)

    def _value(self, schema: object, name: str, index: int, depth: int) -> Any:
        node = self._resolve(schema, depth)
        if "const" in node:
            return node["const"]
        if node.get("enum"):
            return node["enum"][(index + self._rng.randrange(7)) % len(node["enum"])]
        makers: dict[str, Callable[[Schema, str, int, int], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
            "boolean": lambda *_: self._rng.random() < 0.5,
            "null": lambda *_: None,
        }
        return makers[kind_of(node, prefer_null=depth > _DEEP)](node, name, index, depth)

    def _resolve(self, schema: object, depth: int) -> Schema:
        """Follows references and choices until a node has a kind of its own."""
        node: dict[str, Any] = dict(schema) if isinstance(schema, Mapping) else {}
        for _ in range(100):  # a reference may point to itself
            if "$ref" in node:
                target = self._referenced(node.pop("$ref"))
            elif choices := node.pop("anyOf", None) or node.pop("any_of", None) or node.pop("oneOf", None):
                target = self._choose(choices, depth)
            elif node.get("allOf"):
                target = {}
                for part in node.pop("allOf"):
                    target = _both(target, self._resolve(part, depth))
            else:
                break
            node = _both(node, target)
        return node

    def _referenced(self, reference: str) -> Schema:
        target: Any = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if not step:
                continue
            step = step.replace("~1", "/").replace("~0", "~")
            target = target.get(step, {}) if isinstance(target, Mapping) else {}
        return target if isinstance(target, Mapping) else {}

    def _choose(self, choices: list[object], depth: int) -> Schema:
        nodes = [choice if isinstance(choice, Mapping) else {} for choice in choices]
        if depth > _DEEP:
            leaves = [
                node for node in nodes if "$ref" not in node and kind_of(node) not in ("object", "array")
            ]
            return (leaves or nodes)[0]
        full = [node for node in nodes if kind_of(node) != "null"]
        return self._rng.choice(full or nodes)

    def _object(self, node: Schema, name: str, index: int, depth: int) -> dict[str, Any]:
        properties: Schema = node.get("properties") or {}
        required = node.get("required") or ()
        deep = depth >= _DEEP
        wanted = [key for key in properties if key in required or (not deep and properties[key] is not False)]
        wanted += [key for key in required if key not in properties]
        fewest = _int(_first(node, "minProperties")) or 0
        most = _int(_first(node, "maxProperties"))
        if most is not None:
            optional = [key for key in wanted if key not in required]
            wanted = [key for key in wanted if key not in optional[max(0, most - len(required)) :]]
        extra = node.get("additionalProperties")
        result = {key: self._value(properties.get(key, {}), key, index, depth + 1) for key in wanted}
        if not properties and isinstance(extra, Mapping) and not deep:
            fewest = max(fewest, 2 if most is None else min(2, most))
        for number in range(len(result), fewest if extra is not False else 0):
            result[f"entry_{number + 1}"] = self._value(extra, name, number, depth + 1)
        return result

    def _array(self, node: Schema, name: str, index: int, depth: int) -> list[Any]:
        prefix = node.get("prefixItems") or []
        items = node.get("items")
        fewest = _int(_first(node, "minItems")) or 0
        most = _int(_first(node, "maxItems"))
        count = 0 if depth >= _DEEP else self._asked or self._rng.randint(3, 4)
        if items is False or (items is None and prefix):
            count = len(prefix)
        count = min(max(count, fewest), _MOST_ITEMS)
        count = count if most is None else min(count, most)
        values: list[Any] = []
        seen: set[str] = set()
        repeats = 0
        while len(values) < count:
            source = prefix[len(values)] if len(values) < len(prefix) else items
            value = self._value(source, _singular(name), len(values) + repeats, depth + 1)
            if node.get("uniqueItems") and repr(value) in seen and repeats < 20 * count:
                repeats += 1
                continue
            seen.add(repr(value))
            values.append(value)
        return values

    def _string(self, node: Schema, name: str, index: int, depth: int) -> str:
        text = self._text(node, name, index, depth)
        shortest = min(_int(_first(node, "minLength")) or 0, _LONGEST_TEXT)
        longest = _int(_first(node, "maxLength"))
        while len(text) < shortest:
            text = (
                f"{text} {sentence(self._subject, self._rng)}" if text else sentence(self._subject, self._rng)
            )
        return text if longest is None else text[:longest]

    def _text(self, node: Schema, name: str, index: int, depth: int) -> str:
        form = node.get("format")
        if form == "uuid":
            return str(UUID(int=self._rng.getrandbits(128), version=4))
        if form in _FORMATS:
            return _FORMATS[form].format(index % 28 + 1)
        key = re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()
        if _TITLES.search(key):
            if depth > 1 or key != "title":
                return heading(self._subject, self._rng, index)
            top = self._subject.title or self._subject.topic
            return top[:1].upper() + top[1:]
        if _TAGS.search(key):
            return self._subject.words[index % len(self._subject.words)]
        if key == "language":
            return self._subject.language or "English"
        if key in ("id", "slug", "key"):
            return f"{re.sub(r'[^a-z0-9]+', '-', self._subject.topic.lower()).strip('-')}-{index + 1}"
        return sentence(self._subject, self._rng)

    def _integer(self, node: Schema, name: str, index: int, depth: int) -> int:
        step = _number(node.get("multipleOf")) or 1
        step = step if float(step).is_integer() else 1
        low, high = _bounds(node, 1)
        if _COUNTERS.search(name.lower()) and low <= index + 1 <= high and step == 1:
            return index + 1
        first, last = math.ceil(low / step), math.floor(high / step)
        return int(self._rng.randint(first, max(first, last)) * step)

    def _number(self, node: Schema, name: str, index: int, depth: int) -> float:
        if step := _number(node.get("multipleOf")):
            low, high = _bounds(node, step)
            first = math.ceil(low / step)
            return self._rng.randint(first, max(first, math.floor(high / step))) * step
        low, high = _bounds(node, 0)
        value = low + (high - low) * self._rng.uniform(0.25, 0.75)
        rounded = round(value, 2)
        return rounded if low < rounded < high else value


def kind_of(node: Schema, *, prefer_null: bool = False) -> str:
    """The JSON type of a node, guessed from its other words where it has none."""
    kinds = node.get("type")
    names = [str(kind).lower() for kind in (kinds if isinstance(kinds, list) else [kinds]) if kind]
    if prefer_null and ("null" in names or node.get("nullable") is True):
        return "null"
    for name in names:
        if name in ("object", "array", "string", "integer", "number", "boolean") or (
            name == "null" and len(names) == 1
        ):
            return name
    if any(word in node for word in ("properties", "required", "minProperties")):
        return "object"
    if any(word in node for word in ("items", "prefixItems", "minItems")):
        return "array"
    if any(
        word in node for word in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
    ):
        return "number"
    return "string"


def broken(schema: Schema | bool | None) -> object:
    """A value that does not follow the schema."""
    wanted = kind_of(schema) if isinstance(schema, Mapping) else "object"
    return {"unexpected": True} if wanted in ("array", "string") else ["not", "what", "was", "asked", "for"]


def _both(left: Schema, right: Schema) -> dict[str, Any]:
    """Two nodes that both hold: the left one's words win, properties and required are joined."""
    joined = {**right, **left}
    if "properties" in left and "properties" in right:
        joined["properties"] = {**right["properties"], **left["properties"]}
    if "required" in left and "required" in right:
        joined["required"] = [
            *left["required"],
            *(key for key in right["required"] if key not in left["required"]),
        ]
    return joined


def _bounds(node: Schema, step: float) -> tuple[float, float]:
    """The inclusive range of a number; a step of 0 leaves exclusive ends to the caller."""
    low, high = _number(node.get("minimum")), _number(node.get("maximum"))
    above, below = _number(node.get("exclusiveMinimum")), _number(node.get("exclusiveMaximum"))
    if above is not None:
        above = math.floor(above) + step if step == 1 else above + step
        low = above if low is None else max(low, above)
    if below is not None:
        below = math.ceil(below) - step if step == 1 else below - step
        high = below if high is None else min(high, below)
    if low is None:
        low = 1 if high is None or high >= 1 else high - 100
    return low, (low + 100 if high is None else high)


def _first(node: Schema, name: str) -> object:
    """A word of a schema in camelCase or snake_case."""
    value = node.get(name)
    return (
        node.get(re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), name)) if value is None else value
    )


def _int(value: object) -> int | None:
    return (
        int(value) if isinstance(value, int | float) or (isinstance(value, str) and value.isdigit()) else None
    )


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _singular(name: str) -> str:
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name
