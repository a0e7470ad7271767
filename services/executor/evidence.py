"""What this executor can witness of another: heartbeats, its own and theirs."""

import time

from nats.js import JetStreamContext

from services.executor.claim import Evidence
from shared.errors import Unavailable
from shared.execution import ExecutionState
from shared.heartbeat import Heartbeat, read_worker
from shared.subjects import HEARTBEAT_TTL_SECONDS


class Witness:
    """Gathers the evidence that a takeover needs."""

    ttl = HEARTBEAT_TTL_SECONDS

    def __init__(self, js: JetStreamContext, heartbeat: Heartbeat) -> None:
        self._js = js
        self._heartbeat = heartbeat

    async def of(self, state: ExecutionState) -> Evidence | None:
        """About the owner of an execution; None when there is no owner or it can not be known."""
        if state.owner is None:
            return None
        since = self._heartbeat.unbroken_since()
        unbroken = None if since is None else time.monotonic() - since
        try:
            seen = await read_worker(self._js, state.owner)
        except Unavailable:
            return None
        listed = {entry["id"] for entry in seen.worker["executions"]} if seen else set()
        return Evidence(
            heartbeats_unbroken=unbroken,
            owner_since=seen.time if seen else None,
            owner_lists_it=state.id in listed,
        )
