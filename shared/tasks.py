"""The one place where a background task starts: referenced until it ends, and never silent when it fails."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

CANCEL_AGAIN_SECONDS = 0.2

_running: set[asyncio.Task[Any]] = set()
"""The event loop keeps weak references only: a task that nobody holds may be collected half-way."""

_log = logging.getLogger(__name__)


def spawn(coro: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """Starts `coro` in the background. An exception that leaves it is logged as an error when it ends.

    It stays readable in the task, so an owner may await it as well.
    """
    task = asyncio.create_task(coro, name=name)  # noqa: TID251 - this is the wrapper that the ban points to
    _running.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if task.cancelled():
        return
    error = task.exception()
    if error is not None:
        _log.error("task %s failed", task.get_name(), exc_info=error)


async def cancel_and_wait(task: asyncio.Task[Any]) -> None:
    """Cancels the task and returns once it has ended, however it ended.

    A cancellation can be lost: `asyncio.wait_for` of Python 3.11, which nats-py uses, returns a result that comes at
    the same moment instead. So it is repeated. If the caller is cancelled meanwhile, that goes on to the caller; the
    task has been told to end all the same.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_AGAIN_SECONDS)
