"""Keeping the text of a finished node, which has been paid for."""

from services.executor.nodes.context import Run
from services.executor.patience import patiently
from shared.events import TextRef


async def keep_text(run: Run, text: str) -> TextRef:
    """Goes on trying while the bucket is away or full, as the journal does with the log; a stop cancels it."""
    return await patiently(lambda: run.artifacts.put_text(run.journal.state.id, text))
