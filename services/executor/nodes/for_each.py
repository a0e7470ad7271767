"""A loop over a list: opened with the number of its items, which are nodes of their own, and closed after the last."""

from services.executor.nodes.context import Run
from services.executor.planner import CloseItems, OpenItems
from shared.events import NodeCompleted, NodeStarted, TextRef


async def open_items(run: Run, step: OpenItems) -> None:
    """Raises: Fenced and StopSeen, from the journal."""
    await run.journal.append(
        lambda state: NodeStarted(
            attempt=state.attempt,
            node=step.node,
            kind="for_each",
            node_attempt=step.node_attempt,
            items=step.items,
        )
    )


async def close_items(run: Run, step: CloseItems) -> None:
    """Raises: Fenced and StopSeen, from the journal."""
    await run.journal.append(
        lambda state: NodeCompleted(
            attempt=state.attempt,
            node=step.node,
            kind="for_each",
            node_attempt=step.node_attempt,
            output=TextRef(),
        )
    )
