"""Parts of definitions, and what is wrong with one."""

from collections.abc import Mapping, Set
from typing import Any

import pytest

from shared.validation import InvalidDefinition, validate_engine

MODELS = frozenset({"gemini-3.8-flash", "gemini-3.5-flash-lite"})


def engine(*nodes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "id": "mine",
        "name": "Mine",
        "inputs": {"topic": {"type": "text", "required": True}},
        "nodes": list(nodes) or [generate("outline", "On {{ topic }}")],
        "output": nodes[-1]["id"] if nodes else "outline",
        **changes,
    }


def generate(node_id: str, prompt: str, **changes: Any) -> dict[str, Any]:
    return {"id": node_id, "kind": "generate", "model": "gemini-3.8-flash", "prompt": prompt, **changes}


def template(node_id: str, text: str, **changes: Any) -> dict[str, Any]:
    return {"id": node_id, "kind": "template", "template": text, **changes}


def for_each(node_id: str, items: str, task: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    task = task or {"kind": "template", "template": "{{ item }}"}
    return {"id": node_id, "kind": "for_each", "items": items, "node": task, **changes}


def problems(
    definition: object, known: Set[str] = MODELS, successors: Mapping[str, str] | None = None
) -> dict[tuple[str | None, str], str]:
    """The details, by node and field."""
    with pytest.raises(InvalidDefinition) as refused:
        validate_engine(definition, known, successors)
    return {(p.node, p.field): p.detail for p in refused.value.problems}
