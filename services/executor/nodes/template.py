"""A node whose text is put together without a model."""

from services.executor.nodes.context import Run
from services.executor.nodes.keep import keep_text
from services.executor.steps import GiveText
from shared.events import NodeCompleted


async def run_template(run: Run, step: GiveText) -> None:
    """Raises: Fenced and StopSeen, from the journal."""
    run.progressed(adding=len(step.text.encode()))
    if run.interrupted():
        return
    output = await keep_text(run, step.text)
    await run.journal.append(
        lambda state: NodeCompleted(
            attempt=state.attempt,
            node=step.node,
            kind="template",
            node_attempt=step.node_attempt,
            output=output,
        )
    )
    run.finished(step.node, step.text, structured=False)
