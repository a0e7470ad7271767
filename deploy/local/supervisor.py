"""Keeps child processes running: starts them, waits until they are ready, starts again what dies.

One event loop in the main thread. No thread is used: the kernel ties a child's life to the thread that
started it, and a fork beside other threads is not safe.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.leftovers import ProcessRecords
from deploy.local.processes import Launch, StackError, kill_tree, spawn, tail
from deploy.local.reporter import BUSY
from deploy.local.restarts import deaths_after, delay_before_restart
from deploy.local.silence import HANGS_SECONDS, Silence

Readiness = Mapping[str, Any]
POLL_SECONDS = 0.03
LOOK_SECONDS = 5.0
"""Between two looks whether a process still answers."""
LEAVE_SECONDS = 3.0
"""For what is attended to leave by itself, and to leave the terminal as it was."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One process of the stack.

    `launch` is asked at every start. `probe` gets the pid and answers None while the process is not
    ready, else what it says of itself. `alive` answers None when it does not answer at all; without it
    nobody is ever killed. `start_seconds`: until it must be ready at its first start, and alive at a later one.
    """

    name: str
    title: str
    launch: Callable[[], Launch]
    probe: Callable[[int], Awaitable[Readiness | None]]
    alive: Callable[[int], Awaitable[Readiness | None]] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    start_seconds: float = 120.0


@dataclass
class Running:
    """A process of a member, from its start to its end."""

    member: Member
    process: subprocess.Popen[bytes]
    log: Path
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    readiness: Readiness | None = None
    started: float = field(default_factory=time.monotonic)


class Supervisor:
    """`start` members, then `keep` watching them; `stop` ends them.

    `changed` is called after every start, death and readiness; `say` gets lines for people.
    """

    def __init__(
        self,
        records: ProcessRecords,
        *,
        changed: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.running: dict[str, Running] = {}
        self._records = records
        self._changed = changed
        self._say = say
        self._attended: dict[subprocess.Popen[bytes], asyncio.Event] = {}

    def install(self) -> None:
        """Hears from the kernel when a child ends; must be called in the main thread."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def uninstall(self) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    def _reap(self) -> None:
        for running in self.running.values():
            if running.process.poll() is not None:
                running.ended.set()
        for process, ended in self._attended.items():
            if process.poll() is not None:
                ended.set()

    async def attend(self, process: subprocess.Popen[bytes]) -> int:
        """Waits for the end of a process that is no member, and returns its code; ends it if cancelled."""
        self._attended[process] = ended = asyncio.Event()
        try:
            if process.poll() is None:
                await ended.wait()
            return process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                await _wait(ended, LEAVE_SECONDS)
            del self._attended[process]
            if process.poll() is None:
                process.kill()
                process.wait()

    def _spawn(self, member: Member) -> Running:
        launch = member.launch()
        running = Running(member=member, process=spawn(launch), log=launch.log)
        self._records.add(member.name, running.process.pid)
        if running.process.poll() is not None:
            running.ended.set()
        return running

    async def start(self, member: Member) -> Running:
        """Raises StackError when the process ends, or is not ready in its time, at its first start."""
        running = self._spawn(member)
        self.running[member.name] = running
        try:
            async with asyncio.timeout(member.start_seconds):
                await self._until_ready(running)
        except TimeoutError:
            problem = f"was not ready within {member.start_seconds:.0f} s ({BUSY})"
            raise not_started(member.title, problem, running.log) from None
        if running.ended.is_set():
            raise not_started(member.title, f"ended with code {running.process.returncode}", running.log)
        return running

    async def _until_ready(self, running: Running) -> None:
        while not running.ended.is_set():
            running.readiness = await running.member.probe(running.process.pid)
            if running.readiness is not None:
                self._changed()
                return
            await _wait(running.ended, POLL_SECONDS)

    async def run_step(self, title: str, launch: Launch, *, limit_seconds: float = 120.0) -> None:
        """Runs something that ends by itself; raises StackError unless it does so well and in time."""
        try:
            async with asyncio.timeout(limit_seconds):
                code = await self.attend(spawn(launch))
        except TimeoutError:
            problem = f"did not end within {limit_seconds:.0f} s ({BUSY})"
            raise not_started(title, problem, launch.log) from None
        if code != 0:
            raise not_started(title, f"failed with code {code}", launch.log)

    async def keep(self) -> None:
        """Starts again whatever dies; ends only by cancellation."""
        async with asyncio.TaskGroup() as group:
            for name in list(self.running):
                group.create_task(self._keep_one(name))

    async def _keep_one(self, name: str) -> None:
        deaths = 0
        while True:
            running = self.running[name]
            await self._kill_if_it_hangs(running, HANGS_SECONDS)
            deaths = deaths_after(deaths, time.monotonic() - running.started)
            self._say(f"{running.member.title} ended (code {running.process.returncode}); starting it again")
            self._changed()
            self.running[name] = running = await self._spawn_again(running.member, deaths)
            self._changed()
            await self._until_ready_again(running)

    async def _until_ready_again(self, running: Running) -> None:
        """Until it has ended, too. It may wait for others for as long as it says that it is alive."""
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._kill_if_it_hangs(running, running.member.start_seconds))
            await self._until_ready(running)
            watching.cancel()

    async def _kill_if_it_hangs(self, running: Running, limit_seconds: float) -> None:
        """Until it has ended. What does not answer holds work that others could do."""
        member, silence = running.member, Silence(limit_seconds, time.monotonic())
        while not running.ended.is_set():
            await _wait(running.ended, LOOK_SECONDS)
            if member.alive is None or await member.alive(running.process.pid) is not None:
                silence.answered(time.monotonic())
            elif silence.hangs_after_miss(time.monotonic()) and not running.ended.is_set():
                self._say(f"{member.title} has not answered for {limit_seconds:.0f} s; killing it")
                kill_tree(running.process)
                running.ended.set()

    async def _spawn_again(self, member: Member, deaths: int) -> Running:
        while True:
            await asyncio.sleep(delay_before_restart(deaths))
            try:
                return self._spawn(member)
            except (StackError, OSError) as problem:
                self._say(f"{member.title} could not be started: {problem}")
                deaths += 1

    async def stop(self, names: list[str], *, grace_seconds: float, hurry: asyncio.Event) -> None:
        """Asks all of them at once to end, and kills what is left after the grace or a call to hurry.

        `keep` must have been cancelled before, else it starts them again.
        """
        group = [self.running[name] for name in names if name in self.running]
        for running in group:
            if running.process.poll() is None:
                running.process.send_signal(running.member.stop_signal)
        try:
            async with asyncio.timeout(grace_seconds):
                await _all_ended_or(hurry, group)
        except TimeoutError:
            self._say("killing what has not ended in time")
        for running in group:
            kill_tree(running.process)
            running.ended.set()


async def _all_ended_or(hurry: asyncio.Event, group: list[Running]) -> None:
    async def all_ended() -> None:
        for running in group:
            await running.ended.wait()

    async with asyncio.TaskGroup() as tasks:
        waits = [tasks.create_task(all_ended()), tasks.create_task(hurry.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def not_started(title: str, what: str, log: Path) -> StackError:
    end = tail(log) or "(nothing was written)"
    return StackError(f"{title} {what}. {log} ends with:\n{end}")
