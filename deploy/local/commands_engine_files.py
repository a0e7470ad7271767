"""`lekhika engine validate|export|import`: definitions in files, checked before anything is stored."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.local.client import Client, NoAnswer
from deploy.local.commands_engines import FileArgument, IdArgument
from deploy.local.definition_files import as_text, definition_of, read_definition
from deploy.local.options import HOME, AdminOption, HomeOption, JsonOption, open_client, print_json
from deploy.local.processes import StackError


def validate(
    file: FileArgument,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no gateway: names of models are not checked then.")
    ] = False,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
    as_admin: AdminOption = False,
) -> None:
    """Check a definition without storing it; says which fields are wrong, and exits with 1 then.

    Where no stack can be reached it is checked here, all but the names of its models.
    """
    content = read_definition(file)
    verdict = check_here(content) if offline else _ask_or_check_here(content, home, as_admin=as_admin)
    if as_json:
        print_json(verdict)
    else:
        _tell(file, verdict)
    if not verdict["valid"]:
        raise typer.Exit(1)


def _ask_or_check_here(content: dict[str, Any], home: Path, *, as_admin: bool) -> dict[str, Any]:
    try:
        with open_client(home, as_admin=as_admin) as client:
            return {**client.post("/v1/engines/validate", content), "models_checked": True}
    except (StackError, NoAnswer):
        return check_here(content)


def check_here(content: Mapping[str, Any]) -> dict[str, Any]:
    """The gateway's verdict, but for the names of models and what is the most of a limit there."""
    from shared.validation import InvalidDefinition, validate_engine

    errors: list[dict[str, Any]] = []
    try:
        validate_engine(definition_of(content), None)
    except InvalidDefinition as invalid:
        errors = [{"field": one.field, "detail": one.detail, "node": one.node} for one in invalid.problems]
    return {"valid": not errors, "errors": errors, "warnings": [], "models_checked": False}


def _tell(file: Path, verdict: Mapping[str, Any]) -> None:
    if not verdict["models_checked"]:
        print("Checked without a gateway: names of models were not checked.", file=sys.stderr)
    if verdict["valid"]:
        print(f"{file} is a valid engine.")
    else:
        print(f"{file} is not a valid engine:", file=sys.stderr)
    for error in verdict["errors"]:
        print(f"  {error['field']}: {error['detail']}", file=sys.stderr)
    for warning in verdict["warnings"]:
        print(f"  warning: {warning['field']}: {warning['detail']}", file=sys.stderr)


def export(
    engine: IdArgument,
    version: Annotated[int | None, typer.Option(help="An older version of one's own engine.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="JSON for .json, else YAML; standard output without it."
        ),
    ] = None,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
    as_admin: AdminOption = False,
) -> None:
    """Write a definition as its author wrote it, to be put or imported again."""
    path = f"/v1/engines/{engine}" + (f"/versions/{version}" if version is not None else "")
    with open_client(home, as_admin=as_admin) as client:
        content = client.get(path)
    definition = definition_of(content)
    if output is not None:
        output.write_text(as_text(definition, output.suffix), encoding="utf-8")
        told = f"{engine}, version {content['version']}: written to {output}"
        print_json({"id": engine, "version": content["version"], "file": str(output)}) if as_json else print(
            told
        )
    elif as_json:
        print_json(definition)
    else:
        print(as_text(definition, ".yaml"), end="")


def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Definitions, JSON or YAML.")],
    home: HomeOption = HOME,
    as_json: JsonOption = False,
    as_admin: AdminOption = False,
) -> None:
    """Store several definitions. All are checked first: if one is bad, nothing is stored and the exit code is 1."""
    definitions = [(file, definition_of(read_definition(file))) for file in files]
    with open_client(home, as_admin=as_admin) as client:
        bad = _faults(client, definitions)
        if bad:
            _tell_bad(bad, as_json=as_json)
            raise typer.Exit(1)
        stored = [client.put(f"/v1/engines/{content['id']}", content) for _, content in definitions]
    if as_json:
        print_json({"stored": [{"id": one["id"], "version": one["version"]} for one in stored]})
    else:
        for one in stored:
            print(f"{one['id']}, version {one['version']}")


Definitions = Sequence[tuple[Path, Mapping[str, Any]]]


def _faults(client: Client, definitions: Definitions) -> list[tuple[Path, list[Mapping[str, Any]]]]:
    """What is wrong with each file that is not good."""
    bad: list[tuple[Path, list[Mapping[str, Any]]]] = []
    seen: dict[Any, Path] = {}
    for file, content in definitions:
        errors = list(client.post("/v1/engines/validate", dict(content))["errors"])
        if (first := seen.setdefault(str(content.get("id")), file)) is not file:
            errors.append({"field": "id", "detail": f"is the id of {first} as well", "node": None})
        if errors:
            bad.append((file, errors))
    return bad


def _tell_bad(bad: Sequence[tuple[Path, Sequence[Mapping[str, Any]]]], *, as_json: bool) -> None:
    if as_json:
        print_json({"stored": [], "bad": [{"file": str(file), "errors": errors} for file, errors in bad]})
        return
    for file, errors in bad:
        _tell(file, {"valid": False, "errors": errors, "warnings": [], "models_checked": True})
    print("Nothing was stored.", file=sys.stderr)


def register(app: typer.Typer) -> None:
    app.command()(validate)
    app.command()(export)
    app.command("import")(import_)
