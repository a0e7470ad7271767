"""Background tasks are held, named, and never fail in silence."""

import asyncio
import gc
import logging

import pytest

from shared.tasks import cancel_and_wait, spawn

pytestmark = pytest.mark.asyncio


async def test_an_exception_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise ValueError("broken inside")

    task = spawn(fails(), name="doomed")
    await asyncio.wait([task])

    [record] = [found for found in caplog.records if "doomed" in found.getMessage()]
    assert record.levelno == logging.ERROR
    assert "doomed" in record.getMessage()
    assert record.exc_info is not None
    assert "broken inside" in caplog.text


async def test_a_cancelled_task_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    task = spawn(asyncio.Event().wait(), name="waits for ever")
    await cancel_and_wait(task)

    assert task.cancelled()
    assert not caplog.records


async def test_a_task_that_nobody_holds_survives_the_garbage_collector() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()
    go = asyncio.Event()

    async def work() -> None:
        begun.set()
        await go.wait()
        ended.set()

    spawn(work(), name="forgotten")
    await begun.wait()
    gc.collect()
    go.set()
    await asyncio.wait_for(ended.wait(), 1)


async def test_cancel_and_wait_returns_only_after_the_clean_up() -> None:
    begun, cleaned = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.get_running_loop().run_in_executor(None, int)
            cleaned.set()

    task = spawn(work(), name="cleans up")
    await begun.wait()
    await cancel_and_wait(task)

    assert cleaned.is_set()


async def test_cancel_and_wait_of_an_ended_task_does_nothing() -> None:
    async def quick() -> int:
        return 1

    task = spawn(quick(), name="quick")
    assert await task == 1
    await cancel_and_wait(task)
    assert task.result() == 1
