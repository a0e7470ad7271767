"""Named points at which the fault suite lets a process die. For tests only: nothing happens unless LEKHIKA_KILL_AT is set.

`LEKHIKA_KILL_AT=<point>` kills the process with SIGKILL the first time it gets there, `<point>:<n>` the n-th time.
"""

import itertools
import os
import signal
from enum import StrEnum

VARIABLE = "LEKHIKA_KILL_AT"


class Point(StrEnum):
    """`<service>.<what has just happened>`: a crash there leaves exactly that much done."""

    GATEWAY_KEY_FIXED = "gateway.key_fixed"
    GATEWAY_REQUESTED = "gateway.requested"
    GATEWAY_STOP_STORED = "gateway.stop_stored"
    GATEWAY_FORCED = "gateway.forced"
    PROJECTOR_READ = "gateway.projector_read"
    PROJECTOR_COMMITTED = "gateway.projector_committed"
    EXECUTOR_DELIVERED = "executor.delivered"
    EXECUTOR_TAKEOVER = "executor.takeover"
    EXECUTOR_CLAIMED = "executor.claimed"
    EXECUTOR_NODE_STARTED = "executor.node_started"
    EXECUTOR_ARTIFACT_STORED = "executor.artifact_stored"
    EXECUTOR_NODE_COMPLETED = "executor.node_completed"
    EXECUTOR_ENDED = "executor.ended"
    EXECUTOR_RELEASED = "executor.released"
    ANALYTICS_COUNTED = "analytics.counted"
    JANITOR_TOMBSTONE = "janitor.tombstone"
    JANITOR_DELETED_ONE = "janitor.deleted_one"
    JANITOR_APPENDED = "janitor.appended"


def planned(text: str) -> tuple[Point | None, int]:
    """The point and the pass that a value of the variable names. Raises: ValueError, for a name that is none."""
    if not text:
        return None, 0
    name, _, passes = text.partition(":")
    return Point(name), int(passes or 1)


_POINT, _PASS = planned(os.environ.get(VARIABLE, ""))
_passes = itertools.count(1)


def reach(point: Point) -> None:
    """Called where a crash matters."""
    if point is _POINT and next(_passes) == _PASS:
        os.kill(os.getpid(), signal.SIGKILL)
