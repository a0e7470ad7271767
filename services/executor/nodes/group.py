"""A node that is made of others, in the log: opened before the first of them, closed after the last."""

from services.executor.nodes.context import Run
from services.executor.steps import Close, Open
from shared.events import NodeCompleted, NodeStarted, TextRef


async def open_group(run: Run, step: Open) -> None:
    """Raises: Fenced and StopSeen, from the journal."""
    await run.journal.append(
        lambda state: NodeStarted(
            attempt=state.attempt,
            node=step.node,
            kind=step.kind,
            node_attempt=step.node_attempt,
            items=step.items,
        )
    )


async def close_group(run: Run, step: Close) -> None:
    """A text that it takes over is named again, not stored again. Raises: Fenced and StopSeen, from the journal."""
    part = run.journal.state.nodes[step.text_of] if step.text_of is not None else None
    await run.journal.append(
        lambda state: NodeCompleted(
            attempt=state.attempt,
            node=step.node,
            kind=step.kind,
            node_attempt=step.node_attempt,
            output=part.output if part and part.output else TextRef(),
            structured=part is not None and part.structured,
            truncated=part is not None and part.truncated,
        )
    )
