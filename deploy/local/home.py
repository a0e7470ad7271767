"""The folder of one local stack: its files, who holds it, its secrets, its ports."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import psutil
from uuid_utils.compat import uuid7

from deploy.local.polling import poll_until
from deploy.local.processes import StackError, free_port, port_is_free
from deploy.local.program import program_name

DEFAULT_HOME = Path(".lekhika")
SERVICE_ROLES = ("gateway", "analytics", "janitor")


@dataclass(frozen=True)
class Home:
    """Names of the files; nothing is read or written by making one."""

    path: Path

    @property
    def credentials(self) -> Path:
        return self.path / "credentials.json"

    @property
    def stack(self) -> Path:
        return self.path / "stack.json"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets.json"

    @property
    def ports(self) -> Path:
        return self.path / "ports.json"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def lock(self) -> Path:
        return self.path / "run" / "lock"

    @property
    def pids(self) -> Path:
        return self.path / "run" / "pids.json"

    def prepare(self) -> None:
        """Raises StackError when the folder can not be made or written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
            for folder in (self.logs, self.lock.parent):
                folder.mkdir(exist_ok=True, mode=0o700)
        except OSError as problem:
            raise StackError(f"The home folder {self.path} can not be used: {problem.strerror}.") from problem


class HomeInUse(StackError):
    """Another process holds the lock of this home."""

    def __init__(self, home: Home, pid: int | None) -> None:
        holder = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"The home {home.path} is in use: {holder} runs its stack. "
            f"Stop it with `{program_name()} down --home {home.path}`, or start beside it with another --home."
        )
        self.pid = pid


class HomeLock:
    """Held while a stack runs. The kernel frees it with its holder, however that one ends."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._file: int | None = None

    def __enter__(self) -> Self:
        descriptor = os.open(self._home.lock, os.O_RDWR | os.O_CREAT, 0o600)
        if not _lock_soon(descriptor):
            os.close(descriptor)
            raise HomeInUse(self._home, holder_pid(self._home))
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._file = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _lock_soon(descriptor: int) -> bool:
    """Tries for a tenth of a second, as `holder` of another process may have the lock for an instant."""
    return poll_until(lambda: _lock_now(descriptor), seconds=0.1)


def _lock_now(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def holder_pid(home: Home) -> int | None:
    """Who wrote its number last; it holds the home only if the lock is taken."""
    try:
        return int(home.lock.read_text())
    except (OSError, ValueError):
        return None


def holder(home: Home) -> psutil.Process | None:
    """The running process that holds the home, or None when nobody does."""
    if not home.lock.exists():
        return None
    with home.lock.open("r+b") as file:
        if _lock_now(file.fileno()):
            return None
    pid = holder_pid(home)
    with suppress(psutil.NoSuchProcess):
        return None if pid is None else psutil.Process(pid)
    return None


@dataclass(frozen=True, kw_only=True)
class StackSecrets:
    """Passwords of the servers, drawn once for each home."""

    postgres: str
    """The superuser's."""
    owner: str
    """That of the login that migrates."""
    roles: dict[str, str]
    """By service name, the password of its login role."""
    nats: dict[str, str]
    """By user of NATS."""

    @classmethod
    def of(cls, home: Home) -> StackSecrets:
        """Draws what the home does not have yet: all at first, later what a new release has added."""
        from deploy.nats.permissions import ACCESS

        kept: dict[str, Any] = read_json(home.secrets) if home.secrets.exists() else {}
        whole: dict[str, Any] = {
            "postgres": kept.get("postgres") or _token(),
            "owner": kept.get("owner") or _token(),
            "roles": _complete(kept.get("roles"), SERVICE_ROLES),
            "nats": _complete(kept.get("nats"), ACCESS),
        }
        if whole != kept:
            write_private(home.secrets, whole)
        return cls(**whole)


def credentials_of(home: Home) -> dict[str, dict[str, str]]:
    """The first two users, `admin` and `user`, drawn once for each home."""
    if not home.credentials.exists():
        write_private(home.credentials, {role: _first_user(role) for role in ("admin", "user")})
    return cast("dict[str, dict[str, str]]", read_json(home.credentials))


def _first_user(role: str) -> dict[str, str]:
    return {
        "user_id": str(uuid7()),
        "email": f"{role}@localhost",
        "password": secrets.token_urlsafe(12),
        "api_key": "lk_" + secrets.token_urlsafe(32),
    }


def _complete(kept: Any, names: Iterable[str]) -> dict[str, str]:
    """Earlier releases had one password for all users of NATS."""
    before = kept if isinstance(kept, dict) else {}
    return {name: before.get(name) or _token() for name in names}


def _token() -> str:
    return secrets.token_urlsafe(24)


class Ports:
    """Ports by name, kept over restarts of the home as long as nobody else has taken them."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._kept: dict[str, int] = read_json(home.ports) if home.ports.exists() else {}

    def choose(self, name: str) -> int:
        """The kept port if it is free, else a new one."""
        kept = self._kept.get(name)
        if kept is not None and port_is_free(kept):
            return kept
        others = {port for other, port in self._kept.items() if other != name}
        port = free_port()
        while port in others:
            port = free_port()
        self._kept[name] = port
        write_private(self._home.ports, self._kept)
        return port


def write_private(path: Path, content: Any) -> None:
    """Replaces the file in one step, mode 0600, so that a reader sees the old or the new content."""
    fresh = path.with_name(path.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    fresh.replace(path)


def read_json(path: Path) -> Any:
    """Raises StackError when the file is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as problem:
        raise StackError(f"{path} can not be read: {problem}") from problem
