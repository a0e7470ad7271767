"""`lekhika` in a process that is kept for many commands: what this process logs gets into no command's output."""

import asyncio
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from typer.testing import CliRunner

from deploy.local.cli import build


@dataclass(frozen=True)
class Done:
    """`refused` is what the command could not do, empty when it could."""

    exit_code: int
    stdout: str
    stderr: str
    refused: str


def invoke(arguments: tuple[str, ...], environment: dict[str, str], given: str) -> Done:
    result = CliRunner().invoke(build(), list(arguments), input=given, env=environment)
    failed = result.exception if not isinstance(result.exception, SystemExit) else None
    return Done(result.exit_code, result.stdout, result.stderr, str(failed or ""))


class Commands:
    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    async def run(self, *arguments: str, given: str = "", **environment: str) -> Done:
        """`given` is what it reads from its standard input."""
        return await asyncio.wrap_future(self._pool.submit(invoke, arguments, environment, given))


@contextmanager
def commands() -> Iterator[Commands]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield Commands(pool)
