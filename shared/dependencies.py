"""What each node of a workflow waits for: the nodes that its templates name, and its `after`. Pure."""

from shared.template_checks import names
from shared.workflow import AnyNode, Workflow


def names_used(node: AnyNode) -> frozenset[str]:
    """Free names in all templates of a node.

    Raises: TemplateProblem, when one can not be parsed.
    """
    used: frozenset[str] = frozenset()
    for source in node.sources():
        used |= names(source.text) - source.local
    return used


def dependencies(workflow: Workflow) -> dict[str, frozenset[str]]:
    """For each node the ids of the nodes that must be completed before it starts.

    Raises: TemplateProblem, when a template can not be parsed.
    """
    ids = {node.id for node in workflow.nodes}
    return {node.id: (names_used(node) & ids) | (frozenset(node.after) & ids) for node in workflow.nodes}
