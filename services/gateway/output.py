"""The text that an execution gave, final or as far as it came."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from services.gateway.parts import Parts
from services.gateway.resource import text_length
from shared.dependencies import dependencies
from shared.events import TextRef
from shared.execution import ExecutionState, Status, parts_of
from shared.lost import running_texts
from shared.templates import TemplateProblem
from shared.workflow import AnyNode, ForEachNode, GenerateTask, GroupNode, Workflow, parent_of, task_of

BETWEEN = "\n\n"
"""Between the texts of several nodes."""

Found = Mapping[str, str | TextRef]
"""What there is of each node, by its id; without those of which there is nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """`partial` unless the execution completed. `node` is None when the text is that of several nodes."""

    text: str
    node: str | None
    partial: bool
    data: bool
    """JSON by an output schema, and no prose; when partial, it may be cut off."""


async def output_of(parts: Parts, state: ExecutionState, workflow: Workflow) -> Output:
    """Raises: ArtifactGone; Unavailable."""
    found = await _found(parts, state)
    node_id = state.output or workflow.output
    partial = state.status is not Status.COMPLETED
    keys = _own(workflow, state, found, node_id)
    if keys or not partial:
        text = await _joined(parts, found, keys)
        return Output(
            text=text, node=node_id, partial=partial, data=any(_is_data(workflow, key) for key in keys)
        )
    # beside the event loop: the templates of large workflows take a while to be read
    keys = await asyncio.to_thread(nearest, workflow, state, found, parent_of(node_id))
    return Output(
        text=await _joined(parts, found, keys),
        node=keys[0] if len(keys) == 1 else None,
        partial=True,
        data=any(_is_data(workflow, key) for key in keys),
    )


async def _joined(parts: Parts, found: Found, keys: Sequence[str]) -> str:
    """Only the texts that are part of it are read: the others may be large, and many."""
    texts = []
    for key in keys:
        text = found[key]
        texts.append(text if isinstance(text, str) else await parts.texts.of(text))
    return BETWEEN.join(texts)


def nearest(workflow: Workflow, state: ExecutionState, found: Found, output: str) -> Sequence[str]:
    """Ids of the nodes whose texts stand for the output that was not begun, in the order of the workflow.

    Of the nodes that the output is made of, those fewest steps before it that have a plain text; without any, all
    that do; without any of these, those with JSON.
    """
    plain: dict[str, list[str]] = {}
    raw: list[str] = []
    for node in workflow.nodes:
        for key in _shown(node, state, found):
            if _structured(node, key):
                raw.append(key)
            else:
                plain.setdefault(node.id, []).append(key)
    level = next((level for level in _steps_before(workflow, output) if level & plain.keys()), None)
    near = [key for node_id, keys in plain.items() if level is None or node_id in level for key in keys]
    return near or raw


def _shown(node: AnyNode, state: ExecutionState, found: Found) -> Sequence[str]:
    """Ids whose texts stand for a node: its own, all items of a for_each, the last part of another group."""
    if not isinstance(node, GroupNode):
        return [node.id] if node.id in found else []
    parts = list(parts_of(state, node))
    last_only = not isinstance(node, ForEachNode)
    keys = [key for key in (parts[-1:] if last_only and state.completed(node.id) else parts) if key in found]
    return keys[-1:] if last_only else keys


def _structured(node: AnyNode, key: str) -> bool:
    task = task_of(node, key)
    return isinstance(task, GenerateTask) and task.output_schema is not None


def _is_data(workflow: Workflow, key: str) -> bool:
    try:
        return _structured(workflow.node(parent_of(key)), key)
    except KeyError:
        return False


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


def _own(workflow: Workflow, state: ExecutionState, found: Found, node_id: str) -> Sequence[str]:
    """The node itself; of one that is made of others, those that stand for it. Without those of which there is nothing."""
    try:
        node = workflow.node(node_id)
    except KeyError:
        return [node_id] if node_id in found else []
    return _shown(node, state, found)


async def _found(parts: Parts, state: ExecutionState) -> Found:
    """Finished, interrupted, or being written."""
    found: dict[str, str | TextRef] = {} if state.ended else dict(await running_texts(parts.nc, state))
    found |= {partial.node: partial.output for partial in state.partials}
    found |= {node.id: node.output for node in state.nodes.values() if node.output is not None}
    return {
        key: text
        for key, text in found.items()
        if (len(text) if isinstance(text, str) else text_length(text))
    }


def output_json(state: ExecutionState, output: Output) -> dict[str, Any]:
    """With the value itself beside the text, where the text is JSON."""
    body: dict[str, Any] = {
        "execution_id": state.id,
        "status": state.status.value,
        "partial": output.partial,
        "node": output.node,
        "text": output.text,
    }
    node = state.nodes.get(output.node or "")
    if node is not None and node.structured and not output.partial:
        body["json"] = json.loads(output.text)
    return body
