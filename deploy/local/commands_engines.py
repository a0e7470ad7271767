"""`lekhika engine ...`: engines, from and to files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.local import render
from deploy.local.command_group import Commands
from deploy.local.definition_files import as_text, read_definition
from deploy.local.options import HOME, AdminOption, HomeOption, JsonOption, open_client, print_json

app = typer.Typer(cls=Commands, no_args_is_help=True, help="Engines, from and to files.")
IdArgument = Annotated[str, typer.Argument(metavar="ENGINE", help="Id of the engine.")]
FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="Definition, JSON or YAML; - reads standard input.")
]


@app.command("list")
def list_(home: HomeOption = HOME, as_json: JsonOption = False, as_admin: AdminOption = False) -> None:
    """List the engines that you may run."""
    with open_client(home, as_admin=as_admin) as client:
        pages = list(client.pages("/v1/engines"))
    items = [item for page in pages for item in page["items"]]
    if as_json:
        drafts = [draft for page in pages for draft in page["drafts"]]
        print_json({"items": items, "drafts": drafts, "next_cursor": None})
        return
    rows = [
        (item["id"], item.get("name"), item.get("version", ""), item.get("description") or "")
        for item in items
    ]
    render.console().print(render.table(("id", "name", "version", "description"), rows))


@app.command()
def show(
    engine: IdArgument, home: HomeOption = HOME, as_json: JsonOption = False, as_admin: AdminOption = False
) -> None:
    """Print an engine as YAML, with what is known about it."""
    with open_client(home, as_admin=as_admin) as client:
        content = client.get(f"/v1/engines/{engine}")
    print_json(content) if as_json else print(as_text(content, ".yaml"), end="")


@app.command()
def put(
    file: FileArgument,
    engine: Annotated[str | None, typer.Option("--id", help="Instead of the id in the file.")] = None,
    draft: Annotated[
        bool, typer.Option("--draft", help="Keep it as a draft, complete or not; `publish` makes it run.")
    ] = False,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
    as_admin: AdminOption = False,
) -> None:
    """Store a definition as a new engine, or a new version of it."""
    content = read_definition(file)
    engine = engine or content.get("id")
    if not engine:
        raise typer.BadParameter("The definition has no id; name one with --id.", param_hint="FILE")
    with open_client(home, as_admin=as_admin) as client:
        if draft:
            kept = client.put(f"/v1/engines/{engine}/draft", content | {"id": engine})
            print_json(kept) if as_json else print(f"{engine}: kept as a draft")
            return
        known = client.items("/v1/engines")
        stored = client.put(f"/v1/engines/{engine}", content | {"id": engine})
    before = next((item for item in known if item["id"] == engine), None)
    print_json(stored) if as_json else print(_what_became_of(before, stored))


def _what_became_of(before: Mapping[str, Any] | None, stored: Mapping[str, Any]) -> str:
    """`before` is what the id stood for until now: one's own engine, or somebody's shared one."""
    name = f"{stored['id']}, version {stored['version']}"
    if before is None:
        return f"{name}: stored as a new engine"
    if before["owner"] != stored["owner"]:
        return f"{name}: stored as a new engine; it hides the shared engine of this id from you"
    if before["version"] == stored["version"]:
        return f"{name}: unchanged"
    return f"{name}: stored as a new version"


@app.command()
def delete(
    engine: IdArgument, home: HomeOption = HOME, as_json: JsonOption = False, as_admin: AdminOption = False
) -> None:
    """Delete an engine with its versions and draft; executions that ran it keep what they ran."""
    with open_client(home, as_admin=as_admin) as client:
        client.delete(f"/v1/engines/{engine}")
    print_json({"deleted": engine}) if as_json else print(f"{engine} deleted")
