"""`lekhika up` and `lekhika down`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from deploy.local.home import Home
from deploy.local.options import HOME, HomeOption, JsonOption, print_json

WEB_ADDRESS = re.compile(r"https?://[^\s/]+")


def _web_address(url: str | None) -> str | None:
    if url and not WEB_ADDRESS.match(url):
        raise typer.BadParameter(f"'{url}' is not an http or https URL.")
    return url


PortOption = Annotated[int, typer.Option(min=0, max=65535, help="Of the gateway; 0 picks a free one.")]
ExecutorsOption = Annotated[int, typer.Option(min=1, max=64, help="How many executors to run.")]
GeminiUrlOption = Annotated[
    str | None,
    typer.Option(
        "--gemini-url",
        envvar="GEMINI_BASE_URL",
        callback=_web_address,
        help="Where to call the model API, instead of the own stand-in.",
    ),
]
SampleOption = Annotated[bool, typer.Option("--no-sample", help="Do not run the sample execution.")]
DetachOption = Annotated[
    bool, typer.Option("--detach", help="Return once ready; `down` stops it. Runs no sample.")
]


def up(
    home: HomeOption = HOME,
    port: PortOption = 8080,
    executors: ExecutorsOption = 2,
    gemini_url: GeminiUrlOption = None,
    gemini_key: Annotated[str | None, typer.Option(envvar="GEMINI_API_KEY", hidden=True)] = None,
    no_sample: SampleOption = False,
    detach: DetachOption = False,
    leave_terminal: Annotated[bool, typer.Option(hidden=True)] = False,
    as_json: JsonOption = False,
) -> None:
    """Start the whole stack: servers, services and, without --no-sample, a first execution."""
    from deploy.local.plan import StackOptions, standard_plan
    from deploy.local.up import AfterReady, run_detached, run_up

    if detach:
        arguments = ["--home", str(home), "--port", str(port), "--executors", str(executors)]
        arguments += ["--gemini-url", gemini_url] if gemini_url else []
        arguments += ["--json"] if as_json else []
        raise typer.Exit(run_detached([*arguments, "--no-sample", "--leave-terminal"]))
    options = StackOptions(home=home, port=port, gemini_key=gemini_key, gemini_url=gemini_url)
    after = AfterReady(sample=not no_sample, as_json=as_json, leave_terminal=leave_terminal)
    run_up(options, standard_plan(executors), after)


def down(home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Stop the stack of a home and wait until everything has ended."""
    from deploy.local.up import run_down

    run_down(Home(home.resolve()))
    if as_json:
        print_json({"stopped": str(Path(home).resolve())})
    else:
        print(f"The stack in {home} has ended.")


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(down)
