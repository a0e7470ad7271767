"""What this release can not read: given back to one that can; ended when none has come and nobody has ever begun it."""

import logging
import time

from nats.aio.msg import Msg

from shared import conventions as metrics
from shared import ending, subjects
from shared import events as ev
from shared.log import ExecutionLog

ROLLOUT_SECONDS = 1_200.0
"""A release that can read it has come by then."""
REMEMBERED = 10_000

_log = logging.getLogger(__name__)


class Unreadable:
    """Knows since when it has seen each of them; how often one was delivered tells nothing of that."""

    def __init__(self, log: ExecutionLog) -> None:
        self._log = log
        self._since: dict[str, float] = {}

    async def over(self, execution_id: str, msg: Msg) -> bool:
        """Whether nothing is left to do about it: it has ended, or was ended here.

        What somebody has begun is never ended: he could read it, may be running it, and knows what it has used.
        Raises: Conflict; Unavailable.
        """
        outline = await self._log.outline(execution_id)
        if outline is None or outline.over:
            return True
        now = time.monotonic()
        since = self._since.setdefault(execution_id, now)
        if len(self._since) > REMEMBERED:
            del self._since[next(iter(self._since))]
        if now - since < ROLLOUT_SECONDS or "started" in outline.last:
            return False
        _log.error("execution is ended, because no executor could read it")
        info = ev.ErrorInfo(code="unreadable", message="No executor could read this request. Start it anew.")
        end = ending.unreadable(subjects.user_of(msg.subject), msg.metadata.timestamp, info)
        await self._log.append(execution_id, end, outline.last_seq)
        metrics.EXECUTIONS_ENDED.labels(end.type, end.summary.kind.value).inc()
        self._since.pop(execution_id, None)
        return True
