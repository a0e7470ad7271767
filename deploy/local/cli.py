"""The command `lekhika`."""

from __future__ import annotations

import os
import sys

import typer

from deploy.local import (
    commands_audit,
    commands_download,
    commands_engine_files,
    commands_engine_versions,
    commands_engines,
    commands_fleet,
    commands_maintenance,
    commands_models,
    commands_people,
    commands_runs,
    commands_stack,
    failures,
)
from deploy.local.command_group import Commands
from deploy.local.commands_runs import INTERRUPTED
from deploy.local.program import program_name
from shared.errors import LekhikaError


def build() -> typer.Typer:
    app = typer.Typer(
        name="lekhika",
        cls=Commands,
        help="Run multi-step AI workflows, watch them write, stop them, see what they used.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    commands_stack.register(app)
    commands_runs.register(app)
    commands_download.register(app)
    commands_engine_files.register(commands_engines.app)
    commands_engine_versions.register(commands_engines.app)
    app.add_typer(commands_engines.app, name="engine")
    commands_models.register(app)
    commands_fleet.register(app)
    admin = typer.Typer(
        cls=Commands, no_args_is_help=True, help="For superadmins; the local stack's admin key is used there."
    )
    admin.add_typer(commands_models.app, name="models")
    admin.command()(commands_engine_versions.unshare)
    commands_people.register(admin)
    commands_audit.register(admin)
    commands_maintenance.register(app, admin)
    app.add_typer(admin, name="admin")
    return app


def main() -> None:
    """Exit code 1 for a refusal or failure, 2 for wrong usage."""
    try:
        code = _run(as_json="--json" in sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough; what the interpreter flushes at its end must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _run(*, as_json: bool) -> int:
    try:
        # Standing alone it would tell of wrong usage itself, which is no JSON.
        return build()(prog_name=program_name(), standalone_mode=not as_json) or 0
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BrokenPipeError:
        raise
    except typer.Abort:
        return INTERRUPTED
    except typer.TyperException as problem:
        print(failures.error_json("wrong_usage", problem.format_message()), file=sys.stderr)
        return problem.exit_code
    except (LekhikaError, OSError) as problem:
        print(failures.as_json(problem) if as_json else failures.as_text(problem), file=sys.stderr)
        return 1


if __name__ == "__main__":
    main()
