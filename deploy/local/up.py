"""`lekhika up` and `lekhika down`: one process that owns a stack from its start to its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from deploy.local.environment import python_module
from deploy.local.home import Home, HomeLock, holder
from deploy.local.plan import StackOptions, StackPlan
from deploy.local.processes import StackError, first_of
from deploy.local.program import program_name
from deploy.local.reporter import Reporter
from deploy.local.stack import Stack

SAMPLE_TOPIC = "the night trains of a small country"
DOWN_SECONDS = 45.0


@dataclass
class Ending:
    """Set by the first SIGINT, SIGTERM or SIGHUP; the second one hurries."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self) -> None:
        (self.hurry if self.asked.is_set() else self.asked).set()


@asynccontextmanager
async def _signals(ending: Ending) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, ending.ask)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@dataclass(frozen=True, kw_only=True)
class AfterReady:
    """What `up` does once the stack is ready, before it waits for its end."""

    sample: bool
    as_json: bool
    leave_terminal: bool
    """The caller waits for the end of the output, which then goes to a log."""


def run_up(options: StackOptions, plan: StackPlan, after: AfterReady) -> None:
    """Runs a stack until it is told to end. Raises StackError with a text for people."""
    reporter = Reporter(Console(stderr=True))
    home = Home(options.home.resolve())
    failure: BaseException | None = None
    try:
        home.prepare()
        with HomeLock(home):
            asyncio.run(_own(home, options, plan, after, reporter))
    except* StackError as problems:
        failure = first_of(problems)
    if failure is not None:
        raise failure


async def _own(
    home: Home, options: StackOptions, plan: StackPlan, after: AfterReady, reporter: Reporter
) -> None:
    ending = Ending()
    async with _signals(ending):
        stack = Stack(home, options, plan, reporter)
        try:
            await _until_asked(ending, _start_and_keep(stack, home, after, reporter))
            reporter.say("stopping; once more Ctrl-C to hurry")
        finally:
            await stack.stop(ending.hurry)
        reporter.say("everything has ended")


async def _until_asked(ending: Ending, work: Coroutine[Any, Any, None]) -> None:
    """Runs the work until it fails or the ending is asked for."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        asked = group.create_task(ending.asked.wait())
        await asyncio.wait([task, asked], return_when=asyncio.FIRST_COMPLETED)
        for one in (task, asked):
            one.cancel()


async def _start_and_keep(stack: Stack, home: Home, after: AfterReady, reporter: Reporter) -> None:
    await stack.start()
    ready = {"ready": stack.gateway_url, "home": str(home.path)}
    print(json.dumps(ready) if after.as_json else f"ready {stack.gateway_url}", flush=True)
    if after.leave_terminal:
        _leave_terminal(home.logs / "supervisor.log")
    async with asyncio.TaskGroup() as group:
        group.create_task(stack.supervisor.keep())
        if after.sample:
            await _run_sample(stack, home, after, reporter)
        _tell_what_next(stack, home, reporter)


async def _run_sample(stack: Stack, home: Home, after: AfterReady, reporter: Reporter) -> None:
    reporter.say(f"the sample engine short-book, on: {SAMPLE_TOPIC}")
    command = ["run", "short-book", "--input", f"topic={SAMPLE_TOPIC}", "--follow", "--home", str(home.path)]
    if after.as_json:
        command.append("--json")
    process = _run_visibly(command)
    try:
        code = await stack.supervisor.attend(process)
    finally:
        if process.returncode == -signal.SIGKILL:
            reporter.restore()
    if code != 0:
        reporter.problem(f"The sample execution did not succeed (code {code}); logs are in {home.logs}.")


def _run_visibly(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """A command of this program in the caller's terminal and process group, all its output on stdout.

    It passes over Ctrl-C, which this program hears as well: only one of the two must tell what that means.
    """

    def pass_over_interrupts() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    return subprocess.Popen(
        python_module("deploy.local.cli", *command),
        stderr=subprocess.STDOUT,
        preexec_fn=pass_over_interrupts,
    )


def _tell_what_next(stack: Stack, home: Home, reporter: Reporter) -> None:
    if stack.provider.kind == "stand-in":
        reporter.say("model calls go to a stand-in, not to Gemini: set GEMINI_API_KEY for the real one")
    reporter.say(f"page: {stack.gateway_url}/   keys: {home.credentials}")
    name = program_name()
    reporter.say(f'try: {name} run article --input topic="tea" --follow;  {name} usage;  {name} workers')
    reporter.say("Ctrl-C stops everything")


def _leave_terminal(log: Path) -> None:
    """Lets go of the caller's output; what is written from here on goes to the log."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def run_detached(arguments: Sequence[str]) -> int:
    """Starts `lekhika up` with these arguments in a session of its own and waits for its first line.

    Returns 0 once the stack is ready, else the exit code of the failed start.
    """
    process = subprocess.Popen(
        python_module("deploy.local.cli", "up", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        return process.wait()
    if not line:
        return process.wait() or 1
    print(line, end="", flush=True)
    return 0


def run_down(home: Home) -> None:
    """Ends the stack of this home and waits until all of it has ended.

    Raises StackError when there is none, or when it does not end in time.
    """
    process = holder(home)
    if process is None:
        raise StackError(f"No stack runs in {home.path}.")
    process.terminate()
    try:
        process.wait(DOWN_SECONDS)
    except psutil.TimeoutExpired:
        raise StackError(f"Process {process.pid} has not ended within {DOWN_SECONDS:.0f} s.") from None
