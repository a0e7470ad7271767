"""`lekhika admin audit` and `lekhika admin erasures`: who did what to whom, and people whose data goes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from deploy.local import render
from deploy.local.options import HOME, HomeOption, JsonOption, open_client, print_json


def audit(
    actor: Annotated[str | None, typer.Option(metavar="USER", help="Id of who did it.")] = None,
    action: Annotated[
        str | None, typer.Option(help="Such as models.put, or models. for all that begin so.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Id of what it was done to.")] = None,
    begin: Annotated[str | None, typer.Option("--from", metavar="TIME", help="RFC 3339.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="RFC 3339, not included.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the newest.")] = 50,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Print who did what to whom, newest first."""
    if csv and as_json:
        raise typer.BadParameter("--csv and --json exclude each other.")
    query = {"actor": actor, "action": action, "target": target, "from": begin, "to": end, "limit": limit}
    with open_client(home, as_admin=True) as client:
        if csv:
            print(client.text("/v1/admin/audit", "text/csv", **query), end="")
            return
        page = client.get("/v1/admin/audit", **query)
    if as_json:
        print_json(page)
        return
    rows = [
        (_local(item["at"]), item["actor"], item["action"], item["target"], item["reason"] or "")
        for item in page["items"]
    ]
    render.console().print(render.table(("at", "actor", "action", "target", "reason"), rows))


def erasures(home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """List people whose data is erased, and how far that is."""
    with open_client(home, as_admin=True) as client:
        page = client.get("/v1/admin/erasures")
    if as_json:
        print_json(page)
        return
    columns = ("user", "state", "executions left", "asked at", "by", "reason")
    rows = [
        (
            item["user_id"],
            item["state"],
            item["executions_left"],
            _local(item["requested_at"]),
            item["requested_by"],
            item["reason"],
        )
        for item in page["items"]
    ]
    render.console().print(render.table(columns, rows, right=columns[2:3]))


def _local(time: str) -> str:
    return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def register(admin: typer.Typer) -> None:
    admin.command("audit")(audit)
    admin.command("erasures")(erasures)
