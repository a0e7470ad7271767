"""The whole product, started as a person starts it, for tests that look at it from outside."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

START_SECONDS = 60.0
STOP_SECONDS = 30.0


@dataclass
class Stack:
    """A running `lekhika up`."""

    home: Path
    process: "subprocess.Popen[str]"

    def _file(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / name).read_text())
        return found

    @property
    def gateway_url(self) -> str:
        return str(self._file("stack.json")["gateway_url"])

    @property
    def standin_url(self) -> str:
        return str(self._file("stack.json")["gemini_url"])

    @property
    def nats_url(self) -> str:
        return str(self._file("stack.json")["nats_url"])

    @property
    def database_url(self) -> str:
        return str(self._file("stack.json")["database_url"])

    @property
    def processes(self) -> dict[str, int]:
        """Name and pid of everything it runs."""
        return {each["name"]: each["pid"] for each in self._file("stack.json")["processes"]}

    @property
    def services(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._file("stack.json")["services"]
        return found

    @property
    def credentials(self) -> dict[str, Any]:
        return self._file("credentials.json")

    @property
    def user_key(self) -> str:
        return str(self._file("credentials.json")["user"]["api_key"])

    @property
    def user_id(self) -> str:
        return str(self._file("credentials.json")["user"]["user_id"])

    @property
    def admin_key(self) -> str:
        return str(self._file("credentials.json")["admin"]["api_key"])

    def client(self, key: str | None = None) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {key or self.user_key}"}
        return httpx.AsyncClient(base_url=self.gateway_url, headers=headers, timeout=30)

    def down(self) -> int:
        """Ends it as Ctrl-C does; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return self.process.wait(STOP_SECONDS)


def up(home: Path, *arguments: str, **environment: str) -> Stack:
    """Starts `lekhika up` on free ports without the sample, and returns when it says ready."""
    command = [
        sys.executable,
        "-m",
        "deploy.local.cli",
        "up",
        "--home",
        str(home),
        "--port",
        "0",
        "--no-sample",
    ]
    process = subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready "):
            return Stack(home, process)
    process.stdout.close()
    raise AssertionError(f"lekhika up ended with {process.wait()} before it was ready")
