"""Whether a definition can be run, with every fault named by node and field. Pure.

`validate_engine` is for definitions, `check_input` for what is given to an execution.
"""

import graphlib
import itertools
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from jinja2.defaults import DEFAULT_NAMESPACE

from shared import structure, template_checks
from shared.dependencies import sources
from shared.findings import MAX_PROBLEMS, InvalidDefinition, Problem, did_you_mean, quoted
from shared.inputs import check_input, definition_problems
from shared.schemas import schema_faults
from shared.templates import TemplateProblem
from shared.workflow import Engine, ForEachNode, GenerateTask, Node

__all__ = ["RESERVED", "InvalidDefinition", "Problem", "check_input", "validate_engine"]

RESERVED = frozenset(DEFAULT_NAMESPACE) | {
    "and", "block", "call", "caller", "elif", "else", "false", "filter", "for", "if", "in", "include", "index", "is",
    "kwargs", "loop", "macro", "none", "not", "or", "raw", "self", "set", "super", "true", "varargs", "with",
}  # fmt: skip
"""Names with a meaning of their own in templates, so that no input or node can have them."""


def validate_engine(
    definition: object,
    known_models: AbstractSet[str] | None,
    successors: Mapping[str, str] | None = None,
) -> Engine:
    """The engine that a definition, read from JSON or YAML, describes.

    `known_models` None: names of models are not checked. `successors` says for retired models what to take instead.
    Raises: InvalidDefinition, with at most 100 problems, and nothing else whatever is given.
    """
    engine = structure.read(definition)
    problems = list(itertools.islice(_problems(engine, known_models, successors or {}), MAX_PROBLEMS))
    if problems:
        raise InvalidDefinition(problems)
    return engine


def _problems(
    engine: Engine, known_models: AbstractSet[str] | None, successors: Mapping[str, str]
) -> Iterator[Problem]:
    yield from definition_problems(engine.inputs)
    yield from _name_problems(engine)
    ids = {node.id for node in engine.nodes}
    for node in engine.nodes:
        yield from _template_problems(engine, node)
        for name in node.after:
            if name not in ids:
                yield _at(node, "after", f"there is no node {quoted(name)}{did_you_mean(name, ids)}")
        yield from _task_problems(node, known_models, successors)
    yield from _cycle_problems(engine)
    if engine.output not in ids:
        detail = f"there is no node {quoted(engine.output)}{did_you_mean(engine.output, ids)}"
        yield Problem(None, "output", detail)


def _at(node: Node, field: str, detail: str) -> Problem:
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
        if isinstance(node, ForEachNode) and node.as_ in RESERVED:
            yield _at(node, "as", f"{node.as_} {reserved}")
        elif isinstance(node, ForEachNode) and node.as_ in taken:
            yield _at(node, "as", f"{node.as_} is the name of an input or a node: take another name")


def _names(node: Node, field: str, text: str) -> frozenset[str]:
    """Raises: TemplateProblem."""
    is_list = isinstance(node, ForEachNode) and field == "items"
    return template_checks.expression_names(text) if is_list else template_checks.names(text)


def _template_problems(engine: Engine, node: Node) -> Iterator[Problem]:
    known = {*engine.inputs, *(other.id for other in engine.nodes)}
    for field, text, local in sources(node):
        try:
            names = _names(node, field, text)
        except TemplateProblem as error:
            yield _at(node, field, str(error)[:500])
            continue
        for name in sorted(names - local - known):
            detail = f"{quoted(name)} is neither an input nor a node{did_you_mean(name, known | local)}"
            yield _at(node, field, detail)


def _task_problems(
    node: Node, known_models: AbstractSet[str] | None, successors: Mapping[str, str]
) -> Iterator[Problem]:
    prefix, task = ("node.", node.node) if isinstance(node, ForEachNode) else ("", node)
    if not isinstance(task, GenerateTask):
        return
    if task.model in successors:
        detail = f"{task.model} is retired; its successor is {successors[task.model]}"
        yield _at(node, f"{prefix}model", detail)
    elif known_models is not None and task.model not in known_models:
        detail = f"there is no model {quoted(task.model)}{did_you_mean(task.model, known_models)}"
        yield _at(node, f"{prefix}model", detail)
    if task.output_schema is not None:
        for path, detail in schema_faults(task.output_schema):
            yield _at(node, f"{prefix}output_schema{'.' if path else ''}{path}", detail)


def _cycle_problems(engine: Engine) -> Iterator[Problem]:
    graph = {node.id: sorted(_waits_for(node)) for node in engine.nodes}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        cycle = list(reversed(error.args[1]))  # from each node to the one that it waits for
        detail = "waits for itself" + (f": {' -> '.join(cycle)}" if len(cycle) > 2 else "")
        yield Problem(cycle[0], f"nodes.{cycle[0]}", detail)


def _waits_for(node: Node) -> set[str]:
    """Names that the node uses and lists; what can not be read names nothing."""
    found = set(node.after)
    for field, text, local in sources(node):
        try:
            found |= _names(node, field, text) - local
        except TemplateProblem:
            continue  # reported where it stands
    return found
