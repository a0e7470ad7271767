"""`lekhika engine ...`: engines, from and to files."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from deploy.local import render
from deploy.local.definition_files import read_definition
from deploy.local.options import HOME, AdminOption, HomeOption, JsonOption, open_client, print_json

app = typer.Typer(no_args_is_help=True, help="Engines, from and to files.")
IdArgument = Annotated[str, typer.Argument(metavar="ENGINE", help="Id of the engine.")]
FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="Definition, JSON or YAML; - reads standard input.")
]


@app.command("list")
def list_(home: HomeOption = HOME, as_json: JsonOption = False, as_admin: AdminOption = False) -> None:
    """List the engines that you may run."""
    with open_client(home, as_admin=as_admin) as client:
        page = client.get("/v1/engines")
    if as_json:
        print_json(page)
        return
    rows = [
        (item["id"], item.get("name"), item.get("version", ""), item.get("description") or "")
        for item in page["items"]
    ]
    render.console().print(render.table(("id", "name", "version", "description"), rows))


@app.command()
def show(
    engine: IdArgument,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write it to a file (.json or .yaml).")
    ] = None,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
    as_admin: AdminOption = False,
) -> None:
    """Print an engine as YAML, or write it to a file."""
    with open_client(home, as_admin=as_admin) as client:
        content = client.get(f"/v1/engines/{engine}")
    as_text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    if not as_json and (to is None or to.suffix != ".json"):
        as_text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    if to is not None:
        to.write_text(as_text, encoding="utf-8")
    elif as_json:
        print_json(content)
    else:
        print(as_text, end="")


@app.command()
def validate(
    file: FileArgument, home: HomeOption = HOME, as_json: JsonOption = False, as_admin: AdminOption = False
) -> None:
    """Check a definition without storing it; says which fields are wrong, and exits with 1 then."""
    with open_client(home, as_admin=as_admin) as client:
        answer = client.post("/v1/engines/validate", read_definition(file))
    if as_json:
        print_json(answer)
    elif answer["valid"]:
        print(f"{file} is a valid engine.")
    else:
        print(f"{file} is not a valid engine:", file=sys.stderr)
        for error in answer["errors"]:
            print(f"  {error['field']}: {error['detail']}", file=sys.stderr)
    if not answer["valid"]:
        raise typer.Exit(1)


@app.command()
def put(
    file: FileArgument,
    engine: Annotated[str | None, typer.Option("--id", help="Instead of the id in the file.")] = None,
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
        known = client.get("/v1/engines")["items"]
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
    """Delete an engine; executions that ran it keep its name."""
    with open_client(home, as_admin=as_admin) as client:
        client.delete(f"/v1/engines/{engine}")
    print_json({"deleted": engine}) if as_json else print(f"{engine} deleted")
