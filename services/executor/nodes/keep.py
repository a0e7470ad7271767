"""Keeping the text of a finished node, which has been paid for."""

import asyncio

from services.executor.journal import AGAIN_SECONDS
from services.executor.nodes.context import Run
from shared.errors import Retryable
from shared.events import TextRef


async def keep_text(run: Run, text: str) -> TextRef:
    """Goes on trying while the bucket is away or full, as the journal does with the log; a stop cancels it."""
    while True:
        try:
            return await run.artifacts.put_text(run.journal.state.id, text)
        except Retryable:
            await asyncio.sleep(AGAIN_SECONDS)
