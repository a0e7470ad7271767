"""Commands that say what to write instead, when an option or a name is not where it belongs."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

OTHER_NAMES = {
    "cancel": "stop",
    "follow": "watch",
    "ls": "list",
    "ps": "list",
    "start": "run",
    "status": "show",
    "tail": "watch",
}
"""What other programs call it: too far from ours to be found by its letters."""


class Commands(TyperGroup):
    """Names that are near by their letters are suggested by typer itself."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        option = args[0].partition("=")[0] if args else ""
        known = {name for param in self.get_params(ctx) for name in param.opts}
        if option.startswith("-") and option not in known and self._is_of_a_command(option):
            ctx.fail(f"{option} goes after the command: {ctx.command_path} COMMAND {option} ...")
        return super().parse_args(ctx, args)

    def _is_of_a_command(self, option: str) -> bool:
        return any(option in param.opts for command in self.commands.values() for param in command.params)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        ours = OTHER_NAMES.get(args[0])
        if args[0] not in self.commands and ours in self.commands:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {ours!r}?")
        return super().resolve_command(ctx, args)
