"""What the executions of the chaos test run. Every prompt names its request and its node, so that each call that
the stand-in has answered can be told from its ledger.
"""

from typing import Any

from tests.support.make import MODEL

LITE = "gemini-3.5-flash-lite"
INPUTS = {"mark": {"type": "text", "required": True}, "options": {"type": "text", "default": ""}}
PAD = "0123456789abcdef" * 64


def _prompt(node: str, rest: str = "") -> str:
    return f"[request={{{{ mark }}}} node={node}] {rest} [[standin {{{{ options }}}}]]"


def _call(node: str, rest: str = "", model: str = MODEL, **more: Any) -> dict[str, Any]:
    return {"id": node, "kind": "generate", "model": model, "prompt": _prompt(node, rest), **more}


def _engine(engine_id: str, nodes: list[dict[str, Any]], output: str) -> dict[str, Any]:
    return {"id": engine_id, "name": engine_id.title(), "inputs": INPUTS, "nodes": nodes, "output": output}


_CHAIN = [
    _call("first"),
    _call("second", "after {{ first|length }}", model=LITE),
    {"id": "middle", "kind": "template", "template": "{{ first }}\n{{ second }}"},
    _call("third", "after {{ middle|length }}"),
]
_FAN = [
    _call("plan"),
    {
        "id": "parts",
        "kind": "for_each",
        "items": "{{ ['a', 'b', 'c', 'd', 'e', 'f'] }}",
        "as": "part",
        "concurrency": 3,
        "after": ["plan"],
        "node": {"kind": "generate", "model": LITE, "prompt": _prompt("parts/{{ index }}")},
    },
    {"id": "text", "kind": "template", "template": "{{ parts }}"},
]
_BIG = [
    _call("seed"),
    {
        "id": "large",
        "kind": "template",
        "template": "{{ seed }}{% for i in range(60) %}" + PAD + "{% endfor %}",
    },
    {
        "id": "long",
        "kind": "generate",
        "model": MODEL,
        "prompt": "[request={{ mark }} node=long] {{ large|length }} [[standin {{ options }}]] [[standin words=9000 chunks=40]]",
    },
    {"id": "all", "kind": "template", "template": "{{ large }}{{ long }}"},
]

ENGINES: dict[str, dict[str, Any]] = {
    "single": _engine("single", [_call("only")], "only"),
    "chain": _engine("chain", _CHAIN, "third"),
    "fan": _engine("fan", _FAN, "text"),
    "big": _engine("big", _BIG, "all"),
    "text": _engine("text", [{"id": "hello", "kind": "template", "template": "hello {{ mark }}"}], "hello"),
}
