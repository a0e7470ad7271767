"""Starting and ending child processes so that none of them outlives what started it."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from deploy.local.log_lines import readable
from shared.errors import Permanent

LOG_CAP_BYTES = 10 * 1024 * 1024
TAIL_BYTES = 16 * 1024
PR_SET_PDEATHSIG = 1


class StackError(Permanent):
    """Something of the local stack could not be started or ended; the text is meant for people."""


def first_of(problems: BaseExceptionGroup[Any]) -> BaseException:
    """The error that came first; what it cancelled is of no interest to a person."""
    first = problems.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How to start one process.

    `death_signal` is sent by the kernel when the starting thread ends (Linux only).
    `drop_privileges` runs in the child as its last step before the program itself.
    """

    argv: Sequence[str]
    log: Path
    env: Mapping[str, str]
    stdin: bytes = b""
    cwd: Path | None = None
    death_signal: signal.Signals = signal.SIGKILL
    user: tuple[int, int] | None = None
    drop_privileges: Callable[[], None] | None = field(default=None, repr=False)


def spawn(launch: Launch) -> subprocess.Popen[bytes]:
    """Starts the process in a process group of its own, its output appended to the log file.

    The group keeps a Ctrl-C in the terminal from reaching it: its starter ends it in order.
    """
    rotate(launch.log)
    uid_gid = launch.user
    with launch.log.open("ab") as log, tempfile.TemporaryFile() as given:
        given.write(launch.stdin)
        given.seek(0)
        return subprocess.Popen(
            list(launch.argv),
            stdin=given,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(launch.env),
            cwd=launch.cwd,
            process_group=0,
            user=None if uid_gid is None else uid_gid[0],
            group=None if uid_gid is None else uid_gid[1],
            extra_groups=None if uid_gid is None else [],
            preexec_fn=_before_exec(launch),
        )


def _before_exec(launch: Launch) -> Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    parent = os.getpid()
    drop = launch.drop_privileges

    def prepare() -> None:
        if drop is not None:
            drop()
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, int(launch.death_signal), 0, 0, 0)
            if os.getppid() != parent:  # the starter ended before the call above took effect
                os._exit(1)

    return prepare


def stop(process: subprocess.Popen[bytes], *, first: signal.Signals, grace_seconds: float) -> int:
    """Asks the process to end, kills it after the grace, and returns its exit code."""
    if process.poll() is None:
        process.send_signal(first)
    try:
        return process.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and all that it has started, at once; nothing happens if it has ended."""
    if process.poll() is None:
        _, *descendants = _kill([psutil.Process(process.pid)])
        process.wait()  # before psutil, which would take the exit code
        psutil.wait_procs(descendants, timeout=10)


def end_at_once(strangers: Iterable[psutil.Process]) -> None:
    """Kills processes that are no children of this one, and their descendants; waits until they are gone."""
    psutil.wait_procs(_kill(strangers), timeout=10)


def _kill(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    victims = [victim for process in processes for victim in _with_descendants(process)]
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    return victims


def _with_descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        # A server may bind a port whose old connections are in TIME_WAIT, so the probe must be able to as well.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def rotate(log: Path) -> None:
    """Keeps one older file beside a log that has grown past its cap."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_CAP_BYTES:
        log.replace(log.with_name(log.name + ".1"))


def tail(log: Path) -> str:
    """The end of a log, for a person to read; empty when there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    return readable(text.splitlines())
