"""What each node of a workflow waits for: the nodes that its templates name, and its `after`. Pure."""

from collections.abc import Iterator

from shared.template_checks import names
from shared.workflow import ForEachNode, GenerateTask, Node, TemplateTask, Workflow


def sources(node: Node) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Each template of a node: the field it stands in, its text, and the names it may use beside inputs and nodes."""
    if isinstance(node, ForEachNode):
        yield "items", node.items, frozenset()
        local = frozenset({node.as_, "index"})
        for field, text in _task_sources(node.node):
            yield f"node.{field}", text, local
    else:
        for field, text in _task_sources(node):
            yield field, text, frozenset()


def _task_sources(task: GenerateTask | TemplateTask) -> Iterator[tuple[str, str]]:
    if isinstance(task, GenerateTask):
        yield "prompt", task.prompt
        if task.system is not None:
            yield "system", task.system
    else:
        yield "template", task.template


def names_used(node: Node) -> frozenset[str]:
    """Free names in all templates of a node.

    Raises: TemplateProblem, when one can not be parsed.
    """
    used: frozenset[str] = frozenset()
    for _, text, local in sources(node):
        used |= names(text) - local
    return used


def dependencies(workflow: Workflow) -> dict[str, frozenset[str]]:
    """For each node the ids of the nodes that must be completed before it starts.

    Raises: TemplateProblem, when a template can not be parsed.
    """
    ids = {node.id for node in workflow.nodes}
    return {node.id: (names_used(node) & ids) | (frozenset(node.after) & ids) for node in workflow.nodes}
