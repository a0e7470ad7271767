"""The way every service starts and ends: settings, logs, traces, signals, exit code."""

import asyncio
import contextlib
import functools
import gc
import importlib.metadata
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import NoReturn, TypeVar

import uvloop

from shared import logs, telemetry
from shared.errors import LekhikaError
from shared.settings import ServiceSettings, load

S = TypeVar("S", bound=ServiceSettings)

OK, FAILED = 0, 1

_log = logging.getLogger("service")


class Stop(asyncio.Event):
    """Set when the process should end; `failure` tells why when it was not asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: str | None = None

    def fail(self, reason: str) -> None:
        """Ends the process with exit code 1. Does nothing when it is ending already."""
        if not self.is_set():
            _log.critical("ending: %s", reason)
            self.failure = reason
            self.set()


Main = Callable[[S, Stop, logs.LineMaker], Awaitable[None]]
"""The composition root of a service: builds the parts, waits for `stop`, takes them down, returns."""


@functools.cache
def version() -> str:
    """The installed release; `0` in a tree that is not installed."""
    try:
        return importlib.metadata.version("lekhika")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def run(service: str, settings_class: type[S], main: Main[S]) -> NoReturn:
    """Runs `main` until it returns, and exits.

    SIGTERM and SIGINT set `stop`; a second one exits at once. Exit codes: 0 ended as asked, 1 failed, 2 wrong
    settings, 128 + n ended by a second signal n.
    """
    settings = load(settings_class)
    maker = logs.setup(service, settings.instance, settings.log_level)
    _leave(uvloop.run(_supervised(service, settings, main, maker)))


def _leave(code: int) -> NoReturn:
    """Ends at once: everything was taken down in order, and what the interpreter would tidy up besides takes a second
    on a busy machine, in which whoever waits for the end of this process waits for nothing.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # whoever read it is gone
            stream.flush()
    os._exit(code)


def spare_the_collector() -> None:
    """What is loaded by now stays until the end: the garbage collector need not look at it again.

    A full collection of the imported libraries alone stops everything for a tenth of a second, again and again.
    """
    gc.collect()
    gc.freeze()


async def _supervised(service: str, settings: S, main: Main[S], maker: logs.LineMaker) -> int:
    provider = telemetry.setup(service, settings.instance, version())
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stop, number)
    _log.info("starting")
    spare_the_collector()
    try:
        await main(settings, stop, maker)
    except Exception as error:  # noqa: BLE001 - the edge of the process: it is logged, and ends it
        _report(error)
        stop.failure = "failed"
    finally:
        _log.info("ended")
        await telemetry.shutdown(provider)
    return FAILED if stop.failure else OK


def _report(error: Exception) -> None:
    """What was raised on purpose says it all in its text; anything else needs its traceback."""
    leaves = list(_leaves(error))
    if all(isinstance(leaf, LekhikaError) for leaf in leaves):
        for leaf in leaves:
            _log.critical("%s", leaf)
    else:
        _log.critical("the service failed", exc_info=error)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _on_signal(stop: Stop, number: signal.Signals) -> None:
    if stop.is_set():
        _log.warning("second signal: ending at once")
        os._exit(128 + number)
    _log.info("%s: ending", number.name)
    stop.set()
