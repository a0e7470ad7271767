"""Definitions drawn at random: good ones of every kind, and good ones with something broken in them."""

import copy
from random import Random
from typing import Any

from shared.dependencies import dependencies
from tests.support.make import MODEL, workflow

INPUTS: dict[str, dict[str, Any]] = {
    "topic": {"type": "text", "required": True, "max_length": 200},
    "notes": {"type": "long_text", "default": "one two\nthree"},
    "count": {"type": "number", "default": 2, "minimum": 0, "maximum": 9},
    "tone": {"type": "choice", "choices": ["yes", "no"], "default": "no"},
    "tags": {"type": "list", "default": ["red", "blue"], "max_length": 5},
}
GIVEN = {"topic": "a tale of tea"}
"""Input that every one of them takes."""
SCHEMA = {
    "type": "object",
    "required": ["title", "parts", "good"],
    "properties": {
        "title": {"type": "string"},
        "parts": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"type": "string"}},
        "good": {"type": "boolean"},
    },
}
JUNK: tuple[Any, ...] = (
    "",
    None,
    True,
    0,
    -1,
    1e300,
    [],
    {},
    "{{",
    "{{ a }}",
    "{{ nobody }}",
    "{% for x in a %}",
    "é\0",
    ["a"],
    {"a": 1},
)


class _Drawing:
    """One definition in the making: `kinds` has what is known so far, by name: text, number, list or object."""

    def __init__(self, rng: Random, options: str) -> None:
        self.rng = rng
        self.options = options
        self.kinds = {"topic": "text", "notes": "text", "count": "number", "tone": "text", "tags": "list"}

    def definition(self) -> dict[str, Any]:
        nodes = []
        for key in "abcdef"[: self.rng.randint(1, 6)]:
            node, kind = self._node(key)
            nodes.append(node)
            self.kinds[key] = kind
        output = nodes[-1]["id"]
        used = frozenset().union(*dependencies(workflow({"nodes": nodes, "output": output})).values())
        nodes[-1]["after"] = [node["id"] for node in nodes[:-1] if node["id"] not in used]
        self.rng.shuffle(nodes)
        return {"id": "x", "name": "X", "inputs": INPUTS, "nodes": nodes, "output": output}

    def _node(self, key: str) -> tuple[dict[str, Any], str]:
        kind = self.rng.choice(["generate", "template", "for_each", "branch", "repeat"])
        match kind:
            case "for_each":
                name = self.rng.choice(["it", "task", "node", "local"])
                node = {"items": self._list(), "concurrency": self.rng.randint(1, 3), "as": name}
                return {
                    "id": key,
                    "kind": kind,
                    **node,
                    "node": self._task(f"{{{{ {name} }}}} {{{{ index }}}}")[0],
                }, "list"
            case "branch":
                tasks = [self._task("") for _ in range(self.rng.randint(1, 4))]
                cases = [{"when": self._condition(), "node": task} for task, _ in tasks[1:]] or [
                    {"when": self._condition(), "node": tasks[0][0]}
                ]
                other = {"else": tasks[0][0]} if self.rng.random() < 0.5 else {}
                return {"id": key, "kind": kind, "cases": cases, **other}, "any"
            case "repeat":
                task, _ = self._task("{{ previous }} {{ index }}")
                until = self._condition(
                    "{{ index >= 2 }}", "{{ previous | length > 3 }}", "{{ 'a' in previous }}"
                )
                times = self.rng.randint(1, 4)
                return {"id": key, "kind": kind, "node": task, "until": until, "times": times}, "any"
            case _:
                task, value = self._task("", kind)
                return {"id": key, **task}, value

    def _task(self, more: str, kind: str | None = None) -> tuple[dict[str, Any], str]:
        text = f"{self._text()} {more}"
        if (kind or self.rng.choice(["generate", "template"])) == "template":
            return {"kind": "template", "template": text}, "text"
        task = {"kind": "generate", "model": MODEL, "prompt": f"Write {text} {self.options}"}
        if self.rng.random() < 0.3:
            return {**task, "output_schema": SCHEMA}, "object"
        return task, "text"

    def _text(self) -> str:
        forms = {
            "text": (
                "{{ %s }}",
                "{{ %s | upper }}",
                "{%% for w in %s.split() %%}{{ loop.index }}{%% endfor %%}",
            ),
            "number": ("{{ %s }}", "{{ %s | int + 1 }}"),
            "list": ("{{ %s | join('-') }}", "{%% for x in %s %%}{{ x }}{%% endfor %%}", "{{ %s | length }}"),
            "object": ("{{ %s.title }}", "{{ %s['good'] }}", "{%% if %s.good %%}x{%% endif %%}"),
            "any": ("{{ %s }}", "{%% if %s %%}x{%% endif %%}"),
        }
        names = self.rng.sample(sorted(self.kinds), self.rng.randint(0, 3))
        return "x " + " ".join(self.rng.choice(forms[self.kinds[name]]) % name for name in names)

    def _list(self) -> str:
        wholes = [name for name, kind in self.kinds.items() if kind == "list"]
        objects = [name for name, kind in self.kinds.items() if kind == "object"]
        ways = [
            f"{{{{ range({self.rng.randint(0, 4)}) | list }}}}",
            "{{ topic.split() }}",
            "{{ [1, topic] }}",
        ]
        ways.append(f"{{{{ {self.rng.choice(wholes)} }}}}")
        if objects:
            ways.append(f"{{{{ {self.rng.choice(objects)}.parts }}}}")
        return self.rng.choice(ways)

    def _condition(self, *more: str) -> str:
        texts = [name for name, kind in self.kinds.items() if kind == "text"]
        ways = [
            "{{ true }}",
            "{{ false }}",
            "{{ count > 2 }}",
            "{{ tone == 'yes' }}",
            "{{ 'red' in tags }}",
            *more,
        ]
        ways.append(f"{{{{ {self.rng.choice(texts)} | length is odd }}}}")
        return self.rng.choice(ways)


def good_definition(rng: Random, options: str = "") -> dict[str, Any]:
    """One that validation must accept. `options` go into every prompt."""
    return _Drawing(rng, options).definition()


def broken_definition(rng: Random, options: str = "") -> dict[str, Any]:
    """A good one in which a few places have been changed; it may still be good."""
    definition = copy.deepcopy(good_definition(rng, options))
    for _ in range(rng.randint(1, 3)):
        _break(rng, definition)
    return definition


def _break(rng: Random, definition: dict[str, Any]) -> None:
    holder: Any = definition
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = rng.choice(keys)
        inner = holder[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.15:
            break
        holder = inner
    match rng.randint(0, 4):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[f"{key}x"] = holder.pop(key)
        case 2 if isinstance(inner, str):
            holder[key] = inner.replace(rng.choice("abcdef"), rng.choice("abcdefgh"))
        case 3 if isinstance(inner, str):
            holder[key] = rng.choice(["generate", "template", "for_each", "branch", "repeat", "a", "b", "f"])
        case _:
            holder[key] = copy.deepcopy(rng.choice(JUNK))  # the next change may be inside of it
