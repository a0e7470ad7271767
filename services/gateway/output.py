"""The text that an execution gave, final or as far as it came, in the form that the caller accepts."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from services.gateway.parts import Parts
from services.gateway.problems import Problem
from shared.dependencies import dependencies
from shared.execution import ExecutionState, Status, parts_of
from shared.lost import running_texts
from shared.templates import TemplateProblem
from shared.workflow import AnyNode, ForEachNode, GenerateTask, GroupNode, Workflow, parent_of, task_of

PLAIN, MARKDOWN, JSON = "text/plain", "text/markdown", "application/json"
BETWEEN = "\n\n"
"""Between the texts of several nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """`partial` unless the execution completed. `node` is None when the text is that of several nodes."""

    text: str
    node: str | None
    partial: bool
    structured: bool


def media_type(accept: str | None) -> str:
    """The best of the three that are offered. Raises: Problem 406, when none is accepted."""
    wishes = sorted(_wishes(accept or "*/*"), key=lambda wish: -wish[1])
    for wish, quality in wishes:
        if quality <= 0:
            continue
        for offered in (PLAIN, MARKDOWN, JSON):
            if wish in ("*/*", offered, offered.partition("/")[0] + "/*"):
                return offered
    detail = f"The output is there as {PLAIN}, {MARKDOWN} and {JSON}."
    raise Problem(406, "not_acceptable", "No such form", detail)


def _wishes(accept: str) -> list[tuple[str, float]]:
    found = []
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            found.append((name, float(quality)))
        except ValueError:
            found.append((name, 0.0))
    return found


async def output_of(parts: Parts, state: ExecutionState) -> Output:
    """Raises: ArtifactGone; UnknownEvent; Unavailable."""
    workflow = (await parts.bodies.of(state.body)).workflow
    texts = await _texts(parts, state)
    node_id = state.output or workflow.output
    partial = state.status is not Status.COMPLETED
    of_node = _of_node(workflow, state, texts, node_id)
    if of_node or not partial:
        node = state.nodes.get(node_id)
        structured = node is not None and node.structured and not partial
        return Output(text=of_node, node=node_id, partial=partial, structured=structured)
    # beside the event loop: the templates of large workflows take a while to be read
    keys = await asyncio.to_thread(nearest, workflow, state, texts, parent_of(node_id))
    text = BETWEEN.join(texts[key] for key in keys)
    return Output(text=text, node=keys[0] if len(keys) == 1 else None, partial=True, structured=False)


def nearest(
    workflow: Workflow, state: ExecutionState, texts: Mapping[str, str], output: str
) -> Sequence[str]:
    """Ids of the nodes whose texts stand for the output that was not begun, in the order of the workflow.

    Of the nodes that the output is made of, those fewest steps before it that have a plain text; without any, all
    that do; without any of these, those with JSON.
    """
    plain: dict[str, list[str]] = {}
    raw: list[str] = []
    for node in workflow.nodes:
        for key in _shown(node, state, texts):
            if _structured(node, key):
                raw.append(key)
            else:
                plain.setdefault(node.id, []).append(key)
    level = next((level for level in _steps_before(workflow, output) if level & plain.keys()), None)
    found = [key for node_id, keys in plain.items() if level is None or node_id in level for key in keys]
    return found or raw


def _shown(node: AnyNode, state: ExecutionState, texts: Mapping[str, str]) -> Sequence[str]:
    """Ids whose texts stand for a node: its own, all items of a for_each, the last part of another group."""
    if not isinstance(node, GroupNode):
        return [node.id] if texts.get(node.id) else []
    parts = list(parts_of(state, node))
    last_only = not isinstance(node, ForEachNode)
    keys = [
        key for key in (parts[-1:] if last_only and state.completed(node.id) else parts) if texts.get(key)
    ]
    return keys[-1:] if last_only else keys


def _structured(node: AnyNode, key: str) -> bool:
    task = task_of(node, key)
    return isinstance(task, GenerateTask) and task.output_schema is not None


def _steps_before(workflow: Workflow, output: str) -> Iterator[Set[str]]:
    """The nodes that it directly needs, then those that these need, and so on, each once."""
    try:
        needs = dependencies(workflow)
    except TemplateProblem:  # another release has checked it
        return
    seen: Set[str] = {output}
    level: Set[str] = seen
    while level := frozenset().union(*(needs.get(key, frozenset()) for key in level)) - seen:
        seen |= level
        yield level


def _of_node(workflow: Workflow, state: ExecutionState, texts: Mapping[str, str], node_id: str) -> str:
    """A node's own text; of one that is made of others, theirs."""
    try:
        node = workflow.node(node_id)
    except KeyError:
        return texts.get(node_id, "")
    return BETWEEN.join(texts[key] for key in _shown(node, state, texts))


async def _texts(parts: Parts, state: ExecutionState) -> dict[str, str]:
    """What there is of each node: finished, interrupted, or being written."""
    found = {} if state.ended else dict(await running_texts(parts.nc, state))
    for partial in state.partials:
        found[partial.node] = await parts.artifacts.get_text(partial.output)
    for node in state.nodes.values():
        if node.output is not None:
            found[node.id] = await parts.artifacts.get_text(node.output)
    return found


def output_json(state: ExecutionState, output: Output) -> dict[str, Any]:
    """With the value itself beside the text, where the text is JSON."""
    body: dict[str, Any] = {
        "execution_id": state.id,
        "status": state.status.value,
        "partial": output.partial,
        "node": output.node,
        "text": output.text,
    }
    if output.structured:
        body["json"] = json.loads(output.text)
    return body
