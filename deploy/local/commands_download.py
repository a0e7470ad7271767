"""The command `download`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import httpx
import typer

from deploy.local.commands_runs import IdArgument
from deploy.local.options import HOME, AdminOption, HomeOption, JsonOption, open_client, print_json

FORMATS = ("md", "html", "epub", "docx", "txt", "json")
MAKING_SECONDS = 180.0
"""The gateway may take so long to make the file of a long book, its turn included."""
_LONG_SUFFIXES = {"markdown": "md", "htm": "html", "text": "txt"}


def download(
    execution_id: IdArgument,
    wanted: Annotated[
        str | None,
        typer.Option("--format", "-f", help=f"One of {', '.join(FORMATS)}; without it, by FILE, else md."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Without it, a name from the title; - for stdout."
        ),
    ] = None,
    force: Annotated[bool, typer.Option(help="Overwrite the file if it is there.")] = False,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
    as_admin: AdminOption = False,
) -> None:
    """Save what an execution has written as a file: a book as EPUB, for example."""
    chosen = _format(wanted, output)
    if as_json and output == "-":
        raise typer.BadParameter("can not go to stdout together with --json", param_hint="--output")
    with open_client(home, as_admin=as_admin) as client:
        answer = client.file(
            f"/v1/executions/{execution_id}/output", read_seconds=MAKING_SECONDS, format=chosen
        )
    partial = answer.headers.get("x-lekhika-partial") == "true"
    if output == "-":
        sys.stdout.buffer.write(answer.content)
    else:
        path = Path(output) if output is not None else Path(suggested_name(answer, execution_id, chosen))
        _write(path, answer.content, force)
        size = len(answer.content)
        done = {"file": str(path), "format": chosen, "bytes": size, "partial": partial}
        print_json(done) if as_json else print(f"{path} ({size:,} bytes)")
    if partial and not as_json:
        print("It is not complete: the run did not end as completed, or still runs.", file=sys.stderr)


def _format(wanted: str | None, output: str | None) -> str:
    """Raises: BadParameter, naming what there is."""
    if wanted is None:
        suffix = Path(output).suffix.lstrip(".").lower() if output not in (None, "-") else ""
        name = _LONG_SUFFIXES.get(suffix, suffix) or "md"
        where, hint = f"a file that ends in .{suffix} is", "--output"
    else:
        name = wanted.lower()
        where, hint = f"{wanted} is", "--format"
    if name not in FORMATS:
        raise typer.BadParameter(f"{where} none of {', '.join(FORMATS)}", param_hint=hint)
    return name


def suggested_name(answer: httpx.Response, execution_id: str, suffix: str) -> str:
    """The name that the gateway gives, never with a folder in it."""
    header = answer.headers.get("content-disposition", "")
    found = re.search(r"filename\*=UTF-8''([^;\s]+)", header)
    plain = re.search(r'filename="([^"]+)"', header)
    name = unquote(found[1]) if found else plain[1] if plain else ""
    return re.sub(r"[/\\\x00-\x1f]", " ", name).strip(" .") or f"{execution_id}.{suffix}"


def _write(path: Path, content: bytes, force: bool) -> None:
    """Raises: FileExistsError; OSError."""
    try:
        with path.open("wb" if force else "xb") as file:
            file.write(content)
    except FileExistsError:
        raise FileExistsError(f"{path} is there already; --force overwrites it.") from None


def register(app: typer.Typer) -> None:
    app.command()(download)
