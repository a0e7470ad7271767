"""Options that many commands share, and how a command gets its client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.local.client import Client, Who, find_access
from deploy.local.home import DEFAULT_HOME, Home

HomeOption = Annotated[
    Path, typer.Option("--home", envvar="LEKHIKA_HOME", help="Folder of the local stack.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text for people.")]
AdminOption = Annotated[bool, typer.Option("--as-admin", help="Use the admin's key of the local stack.")]
HOME: Path = DEFAULT_HOME


def open_client(home: Path, *, as_admin: bool = False) -> Client:
    """Raises StackError when there is no stack to talk to."""
    who: Who = "admin" if as_admin else "user"
    return Client(find_access(Home(home.resolve()), who))


def print_json(content: Any) -> None:
    print(json.dumps(content, ensure_ascii=False))
