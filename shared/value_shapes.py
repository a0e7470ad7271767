"""What kind of value an expression gives, as far as that is certain before anything has run. Pure.

None stands for what can not be told; of that nothing is ever reported.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from jinja2 import nodes

from shared.findings import did_you_mean, quoted
from shared.workflow import (
    AnyNode,
    BranchNode,
    Engine,
    ForEachNode,
    GenerateTask,
    Input,
    RepeatNode,
    TemplateTask,
)


class Kind(StrEnum):
    TEXT = "a text"
    NUMBER = "a number"
    TRUTH = "true or false"
    OBJECT = "an object"
    LIST = "a list"


@dataclass(frozen=True, slots=True)
class Shape:
    """`schema` is what is known of an object's fields or a list's items."""

    kind: Kind
    schema: Mapping[str, Any] | None = None


Scope = Mapping[str, Shape | None]
"""By name."""

_TEXT = Shape(Kind.TEXT)
_NUMBER = Shape(Kind.NUMBER)
_INPUTS = {"number": _NUMBER, "list": Shape(Kind.LIST)}
_SCHEMAS = {
    "string": Kind.TEXT,
    "number": Kind.NUMBER,
    "integer": Kind.NUMBER,
    "boolean": Kind.TRUTH,
    "object": Kind.OBJECT,
    "array": Kind.LIST,
}
_FILTERS = {
    **dict.fromkeys(("join", "lower", "replace", "string", "title", "trim", "truncate", "upper"), _TEXT),
    **dict.fromkeys(("count", "float", "int", "length", "wordcount"), _NUMBER),
    **dict.fromkeys(("list", "sort"), Shape(Kind.LIST)),
}
_OPEN_SCHEMA = (
    "additionalProperties",
    "patternProperties",
    "$ref",
    "allOf",
    "anyOf",
    "oneOf",
    "if",
    "then",
    "else",
)
"""What may give an object further fields than its `properties`."""
_MAY_BE_MISSING = ("default", "d", "defined", "undefined")
"""Filters and tests for what may not exist."""


def scope_of(engine: Engine) -> Scope:
    """Inputs and nodes."""
    return {
        **{name: _of_input(spec) for name, spec in engine.inputs.items()},
        **{node.id: _of_node(node) for node in engine.nodes},
    }


def _of_input(spec: Input) -> Shape:
    return _INPUTS.get(spec.type, _TEXT)


def _of_node(node: AnyNode) -> Shape | None:
    shapes = [_of_task(part.task) for part in node.parts()]
    if isinstance(node, ForEachNode):
        return Shape(Kind.LIST, shapes[0].schema and {"items": shapes[0].schema} if shapes[0] else None)
    if isinstance(node, BranchNode) and node.else_ is None:
        shapes.append(_TEXT)  # if no case is true
    first = shapes[0]
    return first if all(shape == first for shape in shapes) else None


def _of_task(task: GenerateTask | TemplateTask) -> Shape | None:
    if isinstance(task, TemplateTask) or task.output_schema is None:
        return _TEXT
    return _of_schema(task.output_schema)


def _of_schema(schema: object) -> Shape | None:
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    known = _SCHEMAS.get(kind) if isinstance(kind, str) else None
    return Shape(known, schema) if known and isinstance(schema, Mapping) else None


def local_scope(node: AnyNode, items: Shape | None) -> Scope:
    """Names that only the node's own tasks see. `items`: what the items of a for_each are taken from."""
    if isinstance(node, ForEachNode):
        item = _of_schema(items.schema.get("items")) if items and items.schema else None
        return {"index": _NUMBER, node.as_: item}
    if isinstance(node, RepeatNode):
        return {"index": _NUMBER, "previous": _of_previous(node)}
    return {}


def _of_previous(node: RepeatNode) -> Shape | None:
    """Of a number or a list nothing is certain: in the first round it is an empty text, which can do other things."""
    shape = _of_task(node.node)
    return shape if shape and shape.kind in (Kind.TEXT, Kind.OBJECT) else None


def shape_of(expression: nodes.Node, scope: Scope) -> Shape | None:
    match expression:
        case nodes.Name():
            return scope.get(expression.name)
        case nodes.Const():
            return _of_constant(expression.value)
        case nodes.List() | nodes.Tuple():
            return Shape(Kind.LIST)
        case nodes.Dict():
            return Shape(Kind.OBJECT)
        case nodes.Concat():
            return _TEXT
        case nodes.Compare() | nodes.Not() | nodes.Test():
            return Shape(Kind.TRUTH)
        case nodes.Filter():
            return _FILTERS.get(expression.name)
        case nodes.Getattr() | nodes.Getitem():
            return _of_field(expression, scope)
        case _:
            return None


def _of_constant(value: object) -> Shape | None:
    match value:
        case bool():
            return Shape(Kind.TRUTH)
        case str():
            return _TEXT
        case int() | float():
            return _NUMBER
        case _:
            return None


def _of_field(expression: nodes.Getattr | nodes.Getitem, scope: Scope) -> Shape | None:
    base, name = shape_of(expression.node, scope), _field_name(expression)
    if base is None or base.kind is not Kind.OBJECT or base.schema is None or name is None:
        return None
    properties = base.schema.get("properties")
    return _of_schema(properties.get(name)) if isinstance(properties, Mapping) else None


def _field_name(expression: nodes.Getattr | nodes.Getitem) -> str | None:
    if isinstance(expression, nodes.Getattr):
        return expression.attr
    argument = expression.arg
    return argument.value if isinstance(argument, nodes.Const) and isinstance(argument.value, str) else None


def misuses(tree: nodes.Node, scope: Scope) -> Iterator[str]:
    """Fields that are asked of what certainly does not have them, as sentences."""
    own = {name.name for name in tree.find_all(nodes.Name) if name.ctx != "load"}
    seen = {name: None if name in own else shape for name, shape in scope.items()}
    guarded = {
        _field_name(inner)
        for outer in tree.find_all((nodes.Filter, nodes.Test))
        if getattr(outer, "name", None) in _MAY_BE_MISSING
        for inner in _fields_in(outer)
    }
    called = {id(call.node) for call in tree.find_all(nodes.Call)}
    for field in _fields_in(tree):
        name, base = _field_name(field), shape_of(field.node, seen)
        if name is not None and base is not None and name not in guarded:
            what = field.node.name if isinstance(field.node, nodes.Name) else "it"
            yield from _misuse(field, what, base, name, method=id(field) in called)


def _fields_in(tree: nodes.Node) -> Iterator[nodes.Getattr | nodes.Getitem]:
    yield from tree.find_all(nodes.Getattr)
    yield from tree.find_all(nodes.Getitem)


def _misuse(
    field: nodes.Getattr | nodes.Getitem, what: str, base: Shape, name: str, *, method: bool
) -> Iterator[str]:
    dotted = isinstance(field, nodes.Getattr)
    python = {Kind.TEXT: str, Kind.NUMBER: float}.get(base.kind)
    if python is not None and not (dotted and hasattr(python, name)):
        yield f"{what} is {base.kind} and has no {quoted(name)}"
    fields = base.schema.get("properties") if base.kind is Kind.OBJECT and base.schema else None
    if base.schema is None or not isinstance(fields, Mapping) or method:
        return
    if dotted and hasattr(dict, name):
        if name in fields:
            yield f"{what}.{name} is a method of every object: write {what}['{name}']"
    elif name not in fields and not any(base.schema.get(key) for key in _OPEN_SCHEMA):
        yield f"the output_schema of {what} has no {quoted(name)}{did_you_mean(name, fields)}"
