"""Programs of the services that a person starts: where their servers are, and what they tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from deploy.local.environment import inherited, python_module
from deploy.local.home import Home, StackSecrets, holder, read_json
from deploy.local.processes import StackError
from deploy.local.program import program_name


def servers(home: Home, service: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """DATABASE_URL for the login of `service`, and NATS_URL: the caller's, else those of the stack of the home.

    Raises StackError when there is neither.
    """
    if url := environment.get("DATABASE_URL"):
        return {"DATABASE_URL": url, "NATS_URL": environment.get("NATS_URL", "")}
    if holder(home) is None or not home.stack.exists():
        raise StackError(
            f"No stack is ready in {home.path}. Start one with `{program_name()} up`, name its home with --home, "
            f"or set DATABASE_URL to a database whose login is lekhika_{service}."
        )
    from sqlalchemy.engine import make_url

    state = read_json(home.stack)
    password = StackSecrets.of(home).roles[service]
    login = make_url(state["database_url"]).set(username=f"lekhika_{service}", password=password)
    return {"DATABASE_URL": login.render_as_string(hide_password=False), "NATS_URL": state["nats_url"]}


def run_program(module: str, arguments: Sequence[str], variables: Mapping[str, str]) -> dict[str, Any]:
    """Runs it to its end and gives the JSON that it printed. Raises StackError with what it said when it fails.

    One that prints what it has done has not failed, although its exit code may say that something was left out.
    """
    process = subprocess.run(
        python_module(module, *arguments),
        env=inherited(os.environ) | dict(variables),
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode and not process.stdout.strip():
        raise StackError(process.stderr.strip() or f"{module} failed with code {process.returncode}")
    sys.stderr.write(process.stderr)
    told: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return told
