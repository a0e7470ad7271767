"""What this release can not read: given back to one that can, and ended when none has come.

What somebody has begun is ended only after it was to be stopped: else a release that knows what it has used may go on.
"""

import logging
import time

from nats.aio.msg import Msg

from services.executor.evidence import Witness
from shared import conventions as metrics
from shared import ending, subjects
from shared import events as ev
from shared.log import ExecutionLog, Outline

ROLLOUT_SECONDS = 1_200.0
"""A release that can read it has come by then."""
REMEMBERED = 10_000
_NEVER_BEGUN = "No executor could read this request. Start it anew."
_BEGUN = "It was to be stopped, and no executor could read its history: what it had used is not known."

_log = logging.getLogger(__name__)


class Unreadable:
    """Knows since when it has seen each of them; how often one was delivered tells nothing of that."""

    def __init__(self, log: ExecutionLog, witness: Witness) -> None:
        self._log = log
        self._witness = witness
        self._since: dict[str, float] = {}

    async def over(self, execution_id: str, msg: Msg) -> bool:
        """Whether nothing is left to do about it: it has ended, or was ended here. Raises: Conflict; Unavailable."""
        outline = await self._log.outline(execution_id)
        if outline is None or outline.over:
            return True
        now = time.monotonic()
        since = self._since.setdefault(execution_id, now)
        if len(self._since) > REMEMBERED:
            del self._since[next(iter(self._since))]
        if now - since < ROLLOUT_SECONDS or not await self._may_end(execution_id, outline):
            return False
        _log.error("execution is ended, because no executor could read it")
        message = _BEGUN if "started" in outline.last else _NEVER_BEGUN
        info = ev.ErrorInfo(code="unreadable", message=message)
        end = ending.unreadable(subjects.user_of(msg.subject), msg.metadata.timestamp, info)
        await self._log.append(execution_id, end, outline.last_seq)
        metrics.EXECUTIONS_ENDED.labels(end.type, end.summary.kind.value).inc()
        self._since.pop(execution_id, None)
        return True

    async def _may_end(self, execution_id: str, outline: Outline) -> bool:
        if "started" not in outline.last:
            return True
        return "stop_requested" in outline.last and await self._witness.nobody_runs(execution_id)
