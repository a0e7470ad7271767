"""From a definition as somebody wrote it to an `Engine`, or to plain words about its form. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from shared import json_values
from shared.field_words import told
from shared.findings import MAX_PROBLEMS, InvalidDefinition, Problem, did_you_mean, quoted
from shared.workflow import (
    ENGINE_ID_PATTERN,
    ID_PATTERN,
    NODE_KINDS,
    TASK_KINDS,
    Case,
    Engine,
    Input,
    Limits,
)

MAX_BYTES = 256 * 1024
"""Of a definition as JSON."""

_TASK_PLACES = ("node", "else")
"""Where a task stands inside a node."""
_TASK_FIELDS = frozenset(name for task in TASK_KINDS.values() for name in task.model_fields)
_IDS = {
    ID_PATTERN: "must be lower-case letters, digits and underscores, a letter first, at most 64 characters",
    ENGINE_ID_PATTERN: "must be lower-case letters, digits and hyphens, no hyphen first, at most 64 characters",
}


def read(definition: object) -> Engine:
    """Raises: InvalidDefinition, with every fault of the form."""
    fault = json_values.fault(definition, MAX_BYTES)
    if fault is not None:
        raise InvalidDefinition([Problem(None, fault[0] or "definition", fault[1])])
    if not isinstance(definition, dict):
        raise InvalidDefinition([Problem(None, "definition", "must be an object")])
    text = json.dumps(definition, ensure_ascii=False).encode()
    if len(text) > MAX_BYTES:
        raise InvalidDefinition([Problem(None, "definition", f"is larger than {MAX_BYTES // 1024} KiB")])
    try:
        return Engine.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise InvalidDefinition(_problems(definition, error)) from None


def _problems(definition: Mapping[str, Any], error: ValidationError) -> list[Problem]:
    found: dict[tuple[str, str], Problem] = {}
    for fault in error.errors(include_url=False)[:MAX_PROBLEMS]:
        where = _plain(fault["loc"])
        if fault["type"] == "too_short" and fault["input"]:
            continue  # there are entries, and what is wrong with each is said for itself
        node = _node_id(definition, where)
        path = [node, *where[2:]] if node is not None else list(where[1:])
        field = ".".join(str(part) for part in (*where[:1], *path)) or "definition"
        detail = _detail(definition, where, fault)
        found.setdefault((field, detail), Problem(node, field, detail))
    return list(found.values())


def _plain(loc: Sequence[int | str]) -> tuple[int | str, ...]:
    """A place without the marks that pydantic puts into it: which kind was tried, which form, that it is a key."""
    place = list(loc)
    if place[:1] == ["nodes"] and len(place) > 2:
        place.pop(2)
        task = next((at for at, part in enumerate(place) if at >= 2 and part in _TASK_PLACES), len(place))
        del place[task + 1 : task + 2]
    if place[:1] == ["inputs"] and len(place) > 3 and place[2] == "default":
        del place[3:]
    if place[:1] == ["inputs"] and place[2:] == ["[key]"]:
        del place[2:]
    return tuple(place)


def _node_id(definition: Mapping[str, Any], where: Sequence[int | str]) -> str | None:
    if len(where) < 2 or where[0] != "nodes" or not isinstance(where[1], int):
        return None
    node = definition["nodes"][where[1]]
    name = node.get("id") if isinstance(node, dict) else None
    return name if isinstance(name, str) and name else None


def _detail(definition: Mapping[str, Any], where: Sequence[int | str], fault: Any) -> str:
    given, context = fault["input"], fault.get("ctx", {})
    match fault["type"]:
        case "extra_forbidden":
            return "is not a field that is known here" + _hint(str(where[-1]), _fields(definition, where))
        case "union_tag_not_found":
            return f"needs a kind: one of {', '.join(_kinds(where))}"
        case "union_tag_invalid":
            kind = str(context.get("tag", ""))
            known = _kinds(where)
            return f"there is no kind {quoted(kind)}, only {', '.join(known)}{did_you_mean(kind, known)}"
        case "string_pattern_mismatch":
            return _IDS.get(str(context.get("pattern")), "is not written as it must be")
        case "literal_error" if isinstance(given, str):
            return told(fault) + did_you_mean(given, str(context["expected"]).split("'")[1::2])
        case "missing":
            return "is missing"
        case _ if where[-1:] == ("default",):
            return "must be a text, a number or a list of texts"
        case _:
            return told(fault)


def _hint(name: str, known: Sequence[str]) -> str:
    """The end of a sentence: where a field of a task belongs, or the nearest known name."""
    for place, words in (("node", "`node`"), ("cases", "the `node` of a case")):
        if place in known and name in _TASK_FIELDS:
            return f"; it belongs into {words}"
    return did_you_mean(name, known)


def _kinds(where: Sequence[int | str]) -> list[str]:
    return list(NODE_KINDS if len(where) == 2 else TASK_KINDS)


def _fields(definition: Mapping[str, Any], where: Sequence[int | str]) -> list[str]:
    """Names of the fields that the object around this place may have."""
    model: type[BaseModel] = Engine
    if where[0] == "nodes" and len(where) > 2:
        model = _model_in_node(definition["nodes"][where[1]], where[2:-1])
    elif where[0] == "inputs" and len(where) > 2:
        model = Input
    elif where[0] == "limits" and len(where) > 1:
        model = Limits
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in_node(node: Any, path: Sequence[int | str]) -> type[BaseModel]:
    model: type[BaseModel] = NODE_KINDS[node["kind"]]
    for part in path:
        node = node[part]
        if part in _TASK_PLACES:
            model = TASK_KINDS[node["kind"]]
        elif isinstance(part, int):
            model = Case
    return model
