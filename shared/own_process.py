"""One question to a Python process of its own, beside the event loop: started for it, and ended with it."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process

from shared.errors import Unavailable


async def start(module: str) -> Process:
    """`python -m <module>`, which sees the same code and none of our secrets.

    Raises: Unavailable, when the machine has no room for another process now.
    """
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module),
            stdin=PIPE,
            stdout=PIPE,
            env={"PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
        )
    except OSError as error:
        raise Unavailable(f"no process for {module}: {error}") from error


async def answer(process: Process, question: bytes, seconds: float) -> bytes | None:
    """What it writes when it is given the question. None, when it takes longer by the clock, or fails, most likely for
    want of memory. The process has ended when this returns, also when it is cancelled.
    """
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate(question)
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output if process.returncode == 0 else None
