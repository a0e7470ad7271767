"""Whether a definition can be run, with every fault named by node and field. Pure.

`validate_engine` is for definitions, `check_input` for what is given to an execution.
"""

import graphlib
import itertools
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from jinja2.defaults import DEFAULT_NAMESPACE

from shared import structure, template_checks
from shared.definition_bounds import bound_problems
from shared.findings import (
    MAX_PROBLEMS,
    InvalidDefinition,
    Problem,
    did_you_mean,
    few_suggestions,
    quoted,
)
from shared.inputs import check_input, definition_problems
from shared.model_faults import Models, Unfit
from shared.schemas import schema_faults
from shared.templates import TemplateProblem
from shared.value_shapes import Kind, Scope, local_scope, misuses, scope_of, shape_of
from shared.workflow import AnyNode, Engine, ForEachNode, GenerateTask, RepeatNode, Source

__all__ = ["RESERVED", "InvalidDefinition", "Problem", "Unfit", "check_input", "validate_engine"]

RESERVED = frozenset(DEFAULT_NAMESPACE) | {
    "and", "block", "call", "caller", "elif", "else", "false", "filter", "for", "if", "in", "include", "index", "is",
    "kwargs", "loop", "macro", "none", "not", "or", "raw", "self", "set", "super", "true", "varargs", "with",
}  # fmt: skip
"""Names with a meaning of their own in templates, so that no input or node can have them."""


def validate_engine(
    definition: object,
    known_models: AbstractSet[str] | None,
    successors: Mapping[str, str] | None = None,
    unfit: Unfit | None = None,
) -> Engine:
    """The engine that a definition, read from JSON or YAML, describes.

    `known_models` None: names of models are not checked. `successors` says for retired models what to take instead,
    `unfit` which of the others can not do what is asked of them.
    Raises: InvalidDefinition, with at most 100 problems, and nothing else whatever is given.
    """
    with few_suggestions():
        engine = structure.read(definition)
        models = Models(known_models, successors or {}, unfit or Unfit())
        # each only of what the one before has nothing against: too much is not parsed, and of what can not be parsed
        # nobody can say how it is meant
        for found in (bound_problems(engine), _problems(engine, models), _meaning_problems(engine)):
            problems = list(itertools.islice(found, MAX_PROBLEMS))
            if problems:
                raise InvalidDefinition(problems)
        return engine


def _problems(engine: Engine, models: Models) -> Iterator[Problem]:
    yield from definition_problems(engine.inputs)
    yield from _name_problems(engine)
    ids = {node.id for node in engine.nodes}
    for node in engine.nodes:
        yield from _template_problems(engine, node)
        for name in node.after:
            if name not in ids:
                yield _at(node, "after", f"there is no node {quoted(name)}{did_you_mean(name, ids)}")
        yield from _task_problems(node, models)
    if engine.fallback_model is not None:
        for detail in models.faults(engine.fallback_model, structured=_structured(engine)):
            yield Problem(None, "fallback_model", detail)
    yield from _cycle_problems(engine)
    if engine.output not in ids:
        detail = f"there is no node {quoted(engine.output)}{did_you_mean(engine.output, ids)}"
        yield Problem(None, "output", detail)


def _at(node: AnyNode, field: str, detail: str) -> Problem:
    return Problem(node.id, f"nodes.{node.id}.{field}", detail)


def _name_problems(engine: Engine) -> Iterator[Problem]:
    reserved = "has a meaning of its own in templates: take another name"
    for name in engine.inputs:
        if name in RESERVED:
            yield Problem(None, f"inputs.{name}", f"{name} {reserved}")
    seen: set[str] = set()
    for node in engine.nodes:
        if node.id in seen:
            yield _at(node, "id", f"there is another node {node.id}")
        seen.add(node.id)
        if node.id in engine.inputs:
            yield _at(node, "id", f"there is an input {node.id} as well: inputs and nodes share their names")
        if node.id in RESERVED:
            yield _at(node, "id", f"{node.id} {reserved}")
    taken = {*engine.inputs, *seen}
    for node in engine.nodes:
        yield from _local_name_problems(node, taken)


def _local_name_problems(node: AnyNode, taken: AbstractSet[str]) -> Iterator[Problem]:
    if isinstance(node, ForEachNode) and node.as_ in RESERVED:
        yield _at(node, "as", f"{node.as_} has a meaning of its own in templates: take another name")
    elif isinstance(node, ForEachNode) and node.as_ in taken:
        yield _at(node, "as", f"{node.as_} is the name of an input or a node: take another name")
    elif isinstance(node, RepeatNode) and "previous" in taken:
        detail = "previous is the round before in here, and also the name of an input or a node: rename that"
        yield _at(node, "node", detail)


def _names(source: Source) -> frozenset[str]:
    """Raises: TemplateProblem."""
    read = template_checks.expression_names if source.expression else template_checks.names
    return read(source.text) - source.local


def _template_problems(engine: Engine, node: AnyNode) -> Iterator[Problem]:
    known = {*engine.inputs, *(other.id for other in engine.nodes)}
    for source in node.sources():
        try:
            names = _names(source)
        except TemplateProblem as error:
            yield _at(node, source.field, str(error)[:500])
            continue
        for name in sorted(names - known):
            suggestion = did_you_mean(name, known | source.local)
            yield _at(node, source.field, f"{quoted(name)} is neither an input nor a node{suggestion}")


def _task_problems(node: AnyNode, models: Models) -> Iterator[Problem]:
    for prefix, task, _ in node.parts():
        if not isinstance(task, GenerateTask):
            continue
        for detail in models.faults(task.model, structured=task.output_schema is not None):
            yield _at(node, f"{prefix}model", detail)
        for path, detail in schema_faults(task.output_schema or {}):
            yield _at(node, f"{prefix}output_schema{'.' if path else ''}{path}", detail)


def _structured(engine: Engine) -> bool:
    """Whether any node asks for JSON by a schema."""
    return any(
        isinstance(task, GenerateTask) and task.output_schema is not None
        for node in engine.nodes
        for _, task, _ in node.parts()
    )


def _cycle_problems(engine: Engine) -> Iterator[Problem]:
    graph = {node.id: sorted(_waits_for(node)) for node in engine.nodes}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        cycle = list(reversed(error.args[1]))  # from each node to the one that it waits for
        detail = "waits for itself" + (f": {' -> '.join(cycle)}" if len(cycle) > 2 else "")
        yield Problem(cycle[0], f"nodes.{cycle[0]}", detail)


def _waits_for(node: AnyNode) -> set[str]:
    """Names that the node uses and lists; what can not be read names nothing."""
    found = set(node.after)
    for source in node.sources():
        try:
            found |= _names(source)
        except TemplateProblem:
            continue  # reported where it stands
    return found


def _meaning_problems(engine: Engine) -> Iterator[Problem]:
    scope = scope_of(engine)
    for node in engine.nodes:
        yield from _type_problems(node, scope)
    needed = {engine.output}
    graph = {node.id: _waits_for(node) for node in engine.nodes}
    waiting = [engine.output]
    while waiting:
        new = (graph[waiting.pop()] & graph.keys()) - needed
        needed |= new
        waiting += new
    for node in engine.nodes:
        if node.id not in needed:
            detail = "the output does not need it: name it in a template or in `after`, or take it out"
            yield Problem(node.id, f"nodes.{node.id}", detail)


def _type_problems(node: AnyNode, scope: Scope) -> Iterator[Problem]:
    items = None
    if isinstance(node, ForEachNode):
        items = shape_of(template_checks.expression_tree(node.items), scope)
        if items is not None and items.kind is not Kind.LIST:
            hint = " such as {{ text.splitlines() }}" if items.kind is Kind.TEXT else ""
            yield _at(node, "items", f"must give a list{hint}, and this is {items.kind}")
    inside = {**scope, **local_scope(node, items)}
    for source in node.sources():
        seen = {name: shape for name, shape in inside.items() if name in scope or name in source.local}
        for detail in misuses(template_checks.tree(source.text), seen):
            yield _at(node, source.field, detail)
