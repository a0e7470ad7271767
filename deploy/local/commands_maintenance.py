"""`lekhika rebuild ...`, `lekhika admin reprice`, `import-executions` and `check`: what keeps the figures true."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from deploy.local import maintenance, render
from deploy.local.command_group import Commands
from deploy.local.home import Home
from deploy.local.options import HOME, HomeOption, JsonOption, print_json

if TYPE_CHECKING:
    from deploy.checks import Check

rebuild = typer.Typer(
    cls=Commands, no_args_is_help=True, help="Build a read model anew while the system runs."
)

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")]


def _run(home: Path, service: str, module: str, *arguments: str) -> dict[str, Any]:
    variables = maintenance.servers(Home(home.resolve()), service)
    return maintenance.run_program(module, arguments, variables)


def _tell_rebuilt(done: dict[str, Any], what: str, source: str, *, as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    print(f"{what}: {done['rows']:,} rows; {done['corrected']:,} corrected, {done['removed']:,} removed")
    if not done["corrected"] and not done["removed"]:
        print(f"all of them were what {source} says")


@rebuild.command("analytics")
def rebuild_analytics(home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Build the rollups of usage anew from the ledger."""
    done = _run(home, "analytics", "services.analytics.rebuild")
    _tell_rebuilt(done, "user_analytics", "the ledger", as_json=as_json)


@rebuild.command("executions")
def rebuild_executions(home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Build the list of executions anew from the log."""
    done = _run(home, "gateway", "services.gateway.rebuild")
    _tell_rebuilt(done, "executions", "the log", as_json=as_json)


def reprice(
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="First moment, RFC 3339.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Moment after the last, RFC 3339.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Only this one and its releases.")] = None,
    dry_run: DryRunOption = False,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Compute all costs anew from the price list, each at the price of its day."""
    given = (("--from", begin), ("--to", end), ("--model", model))
    arguments = [word for name, value in given if value for word in (name, value)]
    flags = ["--dry-run"] if dry_run else []
    done = _run(home, "analytics", "services.analytics.reprice", *arguments, *flags)
    if as_json:
        print_json(done)
        return
    words = "would be changed" if dry_run else "changed"
    print(f"{done['lines']:,} lines; {sum(one['lines'] for one in done['changed']):,} {words}")
    if done["changed"]:
        columns = ("model", "lines", "USD before", "USD after")
        rows = [(one["model"], one["lines"], one["before"], one["after"]) for one in done["changed"]]
        render.console().print(render.table(columns, rows, right=columns[1:]))


def import_executions(
    file: Annotated[Path, typer.Argument(help="*.csv with a header, else JSON lines.", exists=True)],
    map_: Annotated[
        Path | None,
        typer.Option("--map", exists=True, help="JSON: users, engines and outcomes with other names here."),
    ] = None,
    rejected: Annotated[
        Path | None, typer.Option(help="Where rejected lines go; FILE.rejected.csv without it.")
    ] = None,
    dry_run: DryRunOption = False,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Count old executions from a file. The same file again changes nothing.

    The exit code is 1 when lines were rejected; the others are imported all the same.
    """
    arguments = [str(file.resolve()), *(["--map", str(map_.resolve())] if map_ else [])]
    arguments += ["--rejected", str(rejected.resolve())] if rejected else []
    arguments += ["--dry-run"] if dry_run else []
    done = _run(home, "analytics", "services.analytics.import_executions", *arguments)
    if as_json:
        print_json(done)
    else:
        _tell_imported(done, "would be imported" if dry_run else "imported")
    if done["rejected_lines"]:
        raise typer.Exit(1)


def _tell_imported(done: dict[str, Any], words: str) -> None:
    print(f"{done['executions']:,} executions {words}, {done['imported_before']:,} were there before")
    if done["rejects"]:
        print(f"{done['rejected_lines']:,} lines rejected; {done['rejects']} says why")


def check(home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Prove that sums, keys, grants and policies are as they must be; exit code 1 if not."""
    from deploy import checks

    url = maintenance.servers(Home(home.resolve()), "analytics")["DATABASE_URL"]
    found = checks.run_checks(url)
    ok = all(one.ok for one in found)
    if as_json:
        print_json({"ok": ok, "checks": [asdict(one) for one in found]})
    else:
        rows = [(one.name, _mark(one), one.detail) for one in found]
        render.console().print(render.table(("check", "", "description"), rows))
    if not ok:
        raise typer.Exit(1)


def _mark(one: Check) -> Text:
    return Text("ok", "green") if one.ok else Text("WRONG", "bold red")


def register(app: typer.Typer, admin: typer.Typer) -> None:
    app.add_typer(rebuild, name="rebuild")
    admin.command()(reprice)
    admin.command("import-executions")(import_executions)
    admin.command()(check)
