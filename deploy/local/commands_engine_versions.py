"""`lekhika engine versions|publish|restore|share`: what comes before and after a stored engine."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from deploy.local import render
from deploy.local.commands_engines import IdArgument
from deploy.local.options import HOME, AdminOption, HomeOption, JsonOption, open_client, print_json


class Visibility(StrEnum):
    PRIVATE = "private"
    EVERYONE = "everyone"


def versions(
    engine: IdArgument, home: HomeOption = HOME, as_json: JsonOption = False, as_admin: AdminOption = False
) -> None:
    """List the versions of an engine of yours, newest first."""
    with open_client(home, as_admin=as_admin) as client:
        items = client.items(f"/v1/engines/{engine}/versions", limit=200)
    if as_json:
        print_json({"items": items, "next_cursor": None})
        return
    rows = [
        (
            item["version"],
            item["name"],
            render.moment(str(item["created_at"])),
            "runs" if item["current"] else "",
        )
        for item in items
    ]
    render.console().print(render.table(("version", "name", "since", ""), rows))


def publish(
    engine: IdArgument, home: HomeOption = HOME, as_json: JsonOption = False, as_admin: AdminOption = False
) -> None:
    """Check the draft of an engine and make it the newest version."""
    with open_client(home, as_admin=as_admin) as client:
        stored = client.post(f"/v1/engines/{engine}/publish", None)
    print_json(stored) if as_json else print(f"{engine}, version {stored['version']}: published")


def restore(
    engine: IdArgument,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="The old version to publish again.")],
    home: HomeOption = HOME,
    as_json: JsonOption = False,
    as_admin: AdminOption = False,
) -> None:
    """Publish an old version of an engine again, as the newest."""
    with open_client(home, as_admin=as_admin) as client:
        stored = client.post(f"/v1/engines/{engine}/restore", {"version": version})
    told = f"{engine}, version {stored['version']}: as version {version} was"
    print_json(stored) if as_json else print(told)


def share(
    engine: IdArgument,
    visibility: Annotated[Visibility, typer.Argument(help="Who may see and run it.")],
    home: HomeOption = HOME,
    as_json: JsonOption = False,
    as_admin: AdminOption = False,
) -> None:
    """Let everyone see, run and copy an engine of yours, or nobody else."""
    with open_client(home, as_admin=as_admin) as client:
        stored = client.put(f"/v1/engines/{engine}/sharing", {"visibility": visibility.value})
    told = "everyone may run it" if stored["shared"] else "only you may run it"
    print_json(stored) if as_json else print(f"{engine}: {told}")


def unshare(
    engine: IdArgument,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the audit.")] = None,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Take a shared engine back from everyone but its author."""
    with open_client(home, as_admin=True) as client:
        stored = client.delete(f"/v1/admin/engines/{engine}/sharing", reason=reason)
    print_json(stored) if as_json else print(
        f"{engine}: only its author {', '.join(stored['owners'])} may run it"
    )


def register(app: typer.Typer) -> None:
    for command in (versions, publish, restore, share):
        app.command()(command)
