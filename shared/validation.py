"""Whether a definition can be run, with every fault named by node and field. Pure.

`validate_engine` is for definitions, `check_input` for what is given to an execution.
"""

import graphlib
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from jinja2.defaults import DEFAULT_NAMESPACE

from shared import structure
from shared.dependencies import sources
from shared.findings import InvalidDefinition, Problem, did_you_mean, quoted
from shared.inputs import check_input, definition_problems
from shared.schemas import schema_faults
from shared.templates import TemplateProblem, names_in
from shared.workflow import Engine, ForEachNode, GenerateTask, Node

__all__ = ["RESERVED", "InvalidDefinition", "Problem", "check_input", "validate_engine"]

RESERVED = frozenset(DEFAULT_NAMESPACE) | {
    "and", "block", "call", "caller", "elif", "else", "false", "filter", "for", "if", "in", "include", "index", "is",
    "kwargs", "loop", "macro", "none", "not", "or", "raw", "self", "set", "super", "true", "varargs", "with",
}  # fmt: skip
"""Names with a meaning of their own in templates, so that no input or node can have them."""

_ONE_EXPRESSION = re.compile(r"^\s*\{\{(?P<expression>.+)\}\}\s*$", re.DOTALL)


def validate_engine(
    definition: object,
    known_models: AbstractSet[str] | None,
    successors: Mapping[str, str] | None = None,
) -> Engine:
    """The engine that a definition, read from JSON or YAML, describes.

    `known_models` None: names of models are not checked. `successors` says for retired models what to take instead.
    Raises: InvalidDefinition, and nothing else whatever is given.
    """
    engine = structure.read(definition)
    problems = list(definition_problems(engine.inputs))
    problems += _name_problems(engine)
    waits: dict[str, set[str]] = {}
    for node in engine.nodes:
        found, names = _template_problems(engine, node)
        problems += found
        problems += _after_problems(engine, node)
        problems += _task_problems(node, known_models, successors or {})
        waits.setdefault(node.id, set()).update(names, node.after)
    problems += _cycle_problems(waits)
    problems += _output_problems(engine)
    if problems:
        raise InvalidDefinition(problems)
    return engine


def _at(node: Node, field: str, detail: str) -> Problem:
    return Problem(node.id, f"nodes.{node.id}.{field}", detail)


def _name_problems(engine: Engine) -> Iterator[Problem]:
    for name in engine.inputs:
        if name in RESERVED:
            yield Problem(None, f"inputs.{name}", f"{name} has a meaning of its own in templates: take another name")
    seen: set[str] = set()
    ids = {node.id for node in engine.nodes}
    for node in engine.nodes:
        if node.id in seen:
            yield _at(node, "id", f"there is another node {node.id}")
        seen.add(node.id)
        if node.id in engine.inputs:
            yield _at(node, "id", f"there is an input {node.id} as well: they share their names")
        if node.id in RESERVED:
            yield _at(node, "id", f"{node.id} has a meaning of its own in templates: take another id")
        if isinstance(node, ForEachNode):
            if node.as_ in RESERVED:
                yield _at(node, "as", f"{node.as_} has a meaning of its own in templates: take another name")
            elif node.as_ in ids or node.as_ in engine.inputs:
                yield _at(node, "as", f"{node.as_} is the name of an input or a node: take another one")


def _template_problems(engine: Engine, node: Node) -> tuple[list[Problem], set[str]]:
    """Faults of a node's templates, and all names that they use."""
    known = {*engine.inputs, *(other.id for other in engine.nodes)}
    problems: list[Problem] = []
    used: set[str] = set()
    for field, text, local in sources(node):
        try:
            names = _names(text, expression=isinstance(node, ForEachNode) and field == "items")
        except TemplateProblem as error:
            problems.append(_at(node, field, str(error)[:500]))
            continue
        used |= names - local
        problems += [
            _at(node, field, f"{quoted(name)} is no input and no node{did_you_mean(name, known | local)}")
            for name in sorted(names - local - known)
        ]
    return problems, used


def _names(text: str, *, expression: bool) -> frozenset[str]:
    """Raises: TemplateProblem."""
    try:
        names = names_in(text)
        if expression:
            match = _ONE_EXPRESSION.match(text)
            if match is None:
                raise TemplateProblem("must be one expression in {{ }}, such as {{ outline.parts }}")
            names_in("{{ (" + match["expression"] + ") }}")  # refuses two of them, which look alike from outside
    except (RecursionError, ValueError, SyntaxError, OverflowError, MemoryError):
        raise TemplateProblem("can not be parsed: it is nested too deeply, or has a number that is too large") from None
    return names


def _after_problems(engine: Engine, node: Node) -> Iterator[Problem]:
    ids = {other.id for other in engine.nodes}
    for name in node.after:
        if name not in ids:
            yield _at(node, "after", f"there is no node {quoted(name)}{did_you_mean(name, ids)}")


def _task_problems(
    node: Node, known_models: AbstractSet[str] | None, successors: Mapping[str, str]
) -> Iterator[Problem]:
    inner = isinstance(node, ForEachNode)
    task = node.node if isinstance(node, ForEachNode) else node
    if not isinstance(task, GenerateTask):
        return
    prefix = "node." if inner else ""
    if known_models is not None and task.model not in known_models:
        if task.model in successors:
            detail = f"{task.model} is retired; its successor is {successors[task.model]}"
        else:
            detail = f"there is no model {quoted(task.model)}{did_you_mean(task.model, known_models)}"
        yield _at(node, f"{prefix}model", detail)
    if task.output_schema is not None:
        for path, detail in schema_faults(task.output_schema):
            yield _at(node, f"{prefix}output_schema{'.' if path else ''}{path}", detail)


def _cycle_problems(waits: Mapping[str, AbstractSet[str]]) -> Iterator[Problem]:
    graph = {node: sorted(names & waits.keys()) for node, names in waits.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        cycle = list(reversed(error.args[1]))  # from each node to the one that it waits for
        detail = "waits for itself" if len(cycle) == 2 else f"waits for itself: {' -> '.join(cycle)}"
        yield Problem(cycle[0], f"nodes.{cycle[0]}", detail)


def _output_problems(engine: Engine) -> Iterator[Problem]:
    ids = {node.id for node in engine.nodes}
    if engine.output not in ids:
        yield Problem(None, "output", f"there is no node {quoted(engine.output)}{did_you_mean(engine.output, ids)}")
