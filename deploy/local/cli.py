"""The command `lekhika`."""

from __future__ import annotations

import sys

import typer

from deploy.local import commands_engines, commands_fleet, commands_runs, commands_stack
from shared.errors import LekhikaError


def build() -> typer.Typer:
    app = typer.Typer(
        name="lekhika",
        help="Run multi-step AI workflows, watch them write, stop them, see what they used.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    commands_stack.register(app)
    commands_runs.register(app)
    app.add_typer(commands_engines.app, name="engine")
    commands_fleet.register(app)
    return app


def main() -> None:
    """Exit code 1 for a refusal or failure, 2 for wrong usage."""
    try:
        build()(prog_name="lekhika")
    except LekhikaError as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
