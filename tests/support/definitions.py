"""Workflows that several tests run."""

from typing import Any

from tests.support.make import MODEL


def one(prompt: str, **more: Any) -> dict[str, Any]:
    return {
        "nodes": [{"id": "text", "kind": "generate", "model": MODEL, "prompt": prompt, **more}],
        "output": "text",
    }


def book(mark: str, options: str = "") -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["parts"],
        "properties": {"parts": {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "string"}}},
    }
    part = {"kind": "generate", "model": MODEL, "prompt": f"{mark} write {{{{ part }}}} {options}"}
    return {
        "nodes": [
            {
                "id": "outline",
                "kind": "generate",
                "model": MODEL,
                "prompt": f"{mark} plan",
                "output_schema": schema,
            },
            {"id": "parts", "kind": "for_each", "items": "{{ outline.parts }}", "as": "part", "node": part},
            {"id": "book", "kind": "template", "template": "{% for p in parts %}{{ p }}\n{% endfor %}"},
        ],
        "output": "book",
    }


def two_steps(mark: str, options: str) -> dict[str, Any]:
    first = {"id": "first", "kind": "generate", "model": MODEL, "prompt": f"{mark} first [[standin words=5]]"}
    second = {
        "id": "second",
        "kind": "generate",
        "model": MODEL,
        "prompt": f"{mark} second {{{{ first }}}} [[standin {options}]]",
    }
    return {"nodes": [first, second], "output": "second"}
