"""The services as processes that die and come back: who ran when, under which instance id, and how it ended."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from deploy.local.processes import free_port
from shared.fault_points import VARIABLE
from shared.tasks import cancel_and_wait, spawn
from tests.support.waiting import until

POLL_SECONDS = 0.05


@dataclass
class Life:
    """One process from its start to its end. Times are Unix times."""

    member: str
    process: "subprocess.Popen[bytes]"
    log: Path
    kill_at: str
    began: float = field(default_factory=time.time)
    ended: float | None = None
    asked: signal.Signals | None = None
    was_ready: bool = False
    frozen: list[tuple[float, float]] = field(default_factory=list)

    @property
    def killed(self) -> bool:
        return self.process.returncode == -signal.SIGKILL

    @property
    def instance(self) -> str | None:
        """As its first log line says."""
        with contextlib.suppress(OSError, ValueError, KeyError), self.log.open("rb") as lines:
            return str(json.loads(lines.readline())["instance"])
        return None


class Member:
    """One place of the fleet. Whoever dies in it is replaced, after `away` seconds, until `close`."""

    def __init__(self, name: str, env: Mapping[str, str], folder: Path, http: httpx.AsyncClient) -> None:
        self.name = name
        self.service = name.rpartition("-")[0]
        self.port = free_port()
        self.lives: list[Life] = []
        self.away = 0.0
        self.next_kill_at = ""
        self._env = {**env, "LEKHIKA_HTTP_PORT": str(self.port)}
        self._folder = folder
        self._http = http
        self._closing = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def life(self) -> Life:
        return self.lives[-1]

    def start(self) -> None:
        log = self._folder / f"{self.name}.{len(self.lives)}.log"
        env = {**self._env, VARIABLE: self.next_kill_at}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", f"services.{self.service}"],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.lives.append(Life(self.name, process, log, self.next_kill_at))
        self.next_kill_at = ""
        self._task = spawn(self._watch(self.life), name=f"watch {self.name}")

    async def _watch(self, life: Life) -> None:
        watching = spawn(self._see_ready(life), name=f"ready {self.name}")
        await until(lambda: life.process.poll() is not None, None, POLL_SECONDS)
        life.ended = time.time()
        await cancel_and_wait(watching)
        away, self.away = self.away, 0.0
        if self._closing:
            return
        await asyncio.sleep(away)
        self.start()

    async def _see_ready(self, life: Life) -> None:
        await until(self._answers, None, 0.2)
        life.was_ready = True

    async def _answers(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return (await self._http.get(f"{self.url}/readyz")).status_code == httpx.codes.OK
        return False

    def send(self, number: signal.Signals) -> None:
        if self.life.process.poll() is None:
            self.life.asked = self.life.asked or number
            self.life.process.send_signal(number)

    def kill(self) -> bool:
        """False when it is dead already."""
        alive = self.life.process.poll() is None and self.life.asked is not signal.SIGKILL
        self.send(signal.SIGKILL)
        return alive

    async def freeze(self, seconds: float) -> None:
        life, began = self.life, time.time()
        if life.process.poll() is not None:
            return
        life.process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            if life.process.poll() is None:
                life.process.send_signal(signal.SIGCONT)
            life.frozen.append((began, time.time()))

    async def ready(self, seconds: float = 90.0) -> None:
        await until(self._answers, seconds, 0.1)

    def reopen(self, **changes: str) -> None:
        """Starts it again after `close`, with other settings."""
        self._closing = False
        self._env |= changes
        self.start()

    def leave(self) -> None:
        """From here on nobody takes its place."""
        self._closing = True

    async def close(self, number: signal.Signals = signal.SIGTERM, seconds: float = 20.0) -> None:
        """Ends it for good. Raises: TimeoutError, when it does not end as asked."""
        self.leave()
        if self.life.process.poll() is not None and self.life.ended is not None:
            await cancel_and_wait(self._task)
        self.send(signal.SIGCONT)
        self.life.asked = None
        self.send(number)
        async with asyncio.timeout(seconds):
            await asyncio.wait([self._task])


class Fleet:
    """All members, by name."""

    def __init__(self, members: Mapping[str, Member]) -> None:
        self.members = members

    def of(self, service: str) -> list[Member]:
        return [member for member in self.members.values() if member.service == service]

    def lives(self) -> Iterator[Life]:
        for member in self.members.values():
            yield from member.lives

    def count(self, what: Callable[[Life], bool]) -> int:
        return sum(what(life) for life in self.lives())

    async def close(self, number: signal.Signals = signal.SIGTERM) -> list[str]:
        """Ends all; names those that had to be killed."""
        late = []
        for member in self.members.values():
            member.leave()
        for member in self.members.values():
            try:
                await member.close(number)
            except TimeoutError:
                late.append(member.name)
                await member.close(signal.SIGKILL)
        return late

    def end_at_once(self) -> None:
        """For the way out of a test that failed."""
        for member in self.members.values():
            member.leave()
            for life in member.lives:
                if life.process.poll() is None:
                    life.process.kill()
                    life.process.wait()
