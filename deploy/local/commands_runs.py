"""Commands on executions: run, watch, stop, show, list."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import typer

from deploy.local import render
from deploy.local.client import Client
from deploy.local.inputs import WrongInput, inputs_from, missing
from deploy.local.options import HOME, AdminOption, HomeOption, JsonOption, open_client, print_json
from deploy.local.program import program_name
from deploy.local.run_view import RunView
from deploy.local.watching import watch as watch_execution

INTERRUPTED = 130
HTTP_OK = 200
PAGE = 100
"""The most that the gateway gives at once."""
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the execution.")]


def run(
    engine: Annotated[
        str, typer.Argument(metavar="ENGINE", help="Id of the engine, for example short-book.")
    ],
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--input", "-i", metavar="KEY=VALUE", help="One input; repeat it for more, and for lists."
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show it while it runs, then its output.")
    ] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key with the same request starts nothing new.")
    ] = None,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
    as_admin: AdminOption = False,
) -> None:
    """Start an execution; print its id, or follow it to its end.

    With --follow, the exit code is 0 when it has completed, and 1 when it has failed or was stopped.
    """
    with open_client(home, as_admin=as_admin) as client:
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        body = {"engine": engine, "input": _inputs(client, engine, given or [])}
        execution = client.post("/v1/executions", body, headers)
        if not follow:
            print_json(execution) if as_json else print(execution["id"])
            return
        view = _watch(client, execution["id"], as_json=as_json)
    _exit_as_it_ended(view)


def _exit_as_it_ended(view: RunView) -> None:
    if view.status != "completed":
        raise typer.Exit(1)


def _inputs(client: Client, engine: str, words: list[str]) -> dict[str, Any]:
    """As given; at a terminal, what is missing is asked for."""
    try:
        untyped = inputs_from(words, {})
    except WrongInput as problem:
        raise typer.BadParameter(str(problem), param_hint="--input") from problem
    at_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    if not untyped and not at_terminal:
        return {}
    declared = client.get(f"/v1/engines/{engine}").get("inputs") or {}
    asked = missing(untyped, declared) if at_terminal else ()
    return inputs_from([*words, *_answers(asked, declared)], declared)


def _answers(asked: Iterable[tuple[str, str]], declared: Mapping[str, Any]) -> Iterator[str]:
    """As if they had been given with --input; a list ends with an empty answer."""
    for name, question in asked:
        many = declared[name].get("type") == "list"
        while answer := str(
            typer.prompt(question, default="" if many else None, show_default=False, err=True)
        ):
            yield f"{name}={answer}"
            if not many:
                break


def _watch(client: Client, execution_id: str, *, as_json: bool) -> RunView:
    try:
        return watch_execution(client, execution_id, as_json=as_json)
    except KeyboardInterrupt:
        print(
            f"\nNot watching any more; {execution_id} goes on. Stop it with: {program_name()} stop {execution_id}",
            file=sys.stderr,
        )
        raise typer.Exit(INTERRUPTED) from None


def watch(
    execution_id: IdArgument,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
    as_admin: AdminOption = False,
) -> None:
    """Show an execution while it runs, then its output; what has happened before is shown as well.

    The exit code is 0 when it has completed, and 1 when it has failed or was stopped.
    """
    with open_client(home, as_admin=as_admin) as client:
        view = _watch(client, execution_id, as_json=as_json)
    _exit_as_it_ended(view)


def stop(
    execution_id: IdArgument,
    reason: Annotated[str | None, typer.Option(help="Kept with the execution.")] = None,
    force: Annotated[bool, typer.Option(help="When a first stop has not been obeyed for 10 s.")] = False,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
    as_admin: AdminOption = False,
) -> None:
    """Ask for an execution to be stopped; what it has written so far is kept."""
    with open_client(home, as_admin=as_admin) as client:
        body = {"force": force} | ({"reason": reason} if reason else {})
        code, execution = client.posted(f"/v1/executions/{execution_id}/stop", body)
        earlier = reason and execution.get("stop") and execution["stop"].get("reason") != reason
        me = client.get("/v1/me")["user_id"] if earlier and not as_json else None
    if as_json:
        print_json(execution)
        return
    late = code == HTTP_OK and not force  # a forced stop is answered only when it has ended
    print(f"{execution['id']} {execution['status']}" + (" (had already ended)" if late else ""))
    if earlier:
        print(f"an earlier stop holds: {render.asked(execution['stop'], me)}")


def show(
    execution_id: IdArgument,
    output: Annotated[bool, typer.Option("--output", help="Print only what it has written.")] = False,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
    as_admin: AdminOption = False,
) -> None:
    """Print one execution, or its output."""
    with open_client(home, as_admin=as_admin) as client:
        if output:
            accept = "application/json" if as_json else "text/markdown, text/plain;q=0.9, */*;q=0.1"
            print(client.text(f"/v1/executions/{execution_id}/output", accept))
            return
        execution = client.get(f"/v1/executions/{execution_id}")
        # only who asked for a stop needs to be told from the caller
        me = client.get("/v1/me")["user_id"] if execution.get("stop") and not as_json else None
    if as_json:
        print_json(execution)
        return
    screen = render.console()
    for part in render.execution(execution, me):
        screen.print(part)


def list_(
    status: Annotated[str | None, typer.Option(help="Only those in this status.")] = None,
    engine: Annotated[str | None, typer.Option(help="Only those of this engine.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Go on from an earlier list's next_cursor.")] = None,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
    as_admin: AdminOption = False,
) -> None:
    """List your executions, newest first."""
    with open_client(home, as_admin=as_admin) as client:
        page = _newest(client, limit, cursor, status=status, engine=engine)
    if as_json:
        print_json(page)
        return
    rows = [
        (
            item["id"],
            (item.get("engine") or {}).get("id"),
            render.status_and_place(item),
            render.tokens(item.get("tokens")),
            render.moment(item.get("created_at")),
            render.seconds_between(item.get("started_at"), item.get("ended_at")),
        )
        for item in page["items"]
    ]
    columns = ("id", "engine", "status", "tokens", "created", "took")
    nothing = "No executions match." if status or engine or cursor else "No executions yet."
    render.console().print(render.table(columns, rows, right=("tokens", "took")) if rows else nothing)


def _newest(client: Client, limit: int, cursor: str | None, **query: str | None) -> dict[str, Any]:
    """As one page, read in as many as the gateway needs for it."""
    items: list[Any] = []
    while True:
        size = min(PAGE, limit - len(items))
        page = client.get("/v1/executions", **query, limit=size, cursor=cursor)
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None or len(items) >= limit:
            return {"items": items, "next_cursor": cursor}


def register(app: typer.Typer) -> None:
    for command in (run, watch, stop, show):
        app.command()(command)
    app.command("list")(list_)
