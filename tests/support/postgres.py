"""PostgreSQL servers with every table. The first one of a process is migrated, the others are copies of its files."""

import atexit
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.database_owner import OWNER, give_to_owner
from deploy.local.postgres import PostgresServer
from deploy.migrations.__main__ import run
from deploy.migrations.passwords import LOGINS

_PASSWORD = "for-tests"


@functools.cache
def _pattern() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="lekhika-postgres-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = PostgresServer(folder)
    try:
        give_to_owner(server.start(), _PASSWORD)
        run("upgrade", server.url_for(OWNER, _PASSWORD), dict.fromkeys(LOGINS.values(), _PASSWORD))
    finally:
        server.stop()
    return folder


def prepared_server(folder: Path) -> PostgresServer:
    """Not started yet. It has no rows but those of the migrations."""
    subprocess.run(["cp", "-a", f"{_pattern()}/.", folder], check=True)
    return PostgresServer(folder)


@contextmanager
def migrated_server(folder: Path) -> Iterator[PostgresServer]:
    """One that runs until the end of the block."""
    server = prepared_server(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def service_url(server: PostgresServer, service: str) -> str:
    """For the login of a service: gateway, analytics or janitor."""
    return server.url_for(f"lekhika_{service}", _PASSWORD)
