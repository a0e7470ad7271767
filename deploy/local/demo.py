"""`make demo`: a stack of its own, a run, a stop in mid-call, and the rollup; exits 0 if all of it holds."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from deploy.local import render
from deploy.local.client import Client, find_access
from deploy.local.commands_fleet import TOKEN_KINDS, print_usage
from deploy.local.commands_runs import INTERRUPTED
from deploy.local.environment import python_module
from deploy.local.home import Home, read_json
from deploy.local.polling import poll_until
from deploy.local.processes import StackError
from deploy.local.run_view import RunView
from deploy.local.sse import follow
from deploy.local.watching import watch
from shared.errors import LekhikaError

ENGINE = "short-book"
CHARACTERS_BEFORE_STOP = 120
ROLLUP_SECONDS = 20.0


class Checks:
    """Says of each promise whether it held."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.failed = 0

    def check(self, promise: str, held: bool, found: object = "") -> None:
        self.failed += not held
        mark, style = ("holds", "green") if held else ("DOES NOT HOLD", "bold red")
        told = f"{promise}: {found}" if found != "" else promise
        self._console.print(f"[{style}]{mark}[/]  {told}", soft_wrap=True)

    def chapter(self, title: str) -> None:
        self._console.rule(title, align="left", style="cyan")


@contextmanager
def own_stack() -> Iterator[Home]:
    """A stack in a temporary home. Both are gone when this is left; a home whose stack did not start is kept.

    Raises: StackError, which names that home.
    """
    home = Home(Path(tempfile.mkdtemp(prefix="lekhika-demo-")))
    command = ["up", "--home", str(home.path), "--port", "0", "--no-sample"]
    failed = False
    try:
        with subprocess.Popen(
            python_module("deploy.local.cli", *command), stdout=subprocess.PIPE, start_new_session=True
        ) as process:
            assert process.stdout is not None
            try:
                failed = not process.stdout.readline()
                if failed:
                    raise StackError(f"The stack did not start. What it has written is kept in {home.logs}.")
                yield home
            finally:
                process.terminate()
                process.wait()
    finally:
        if not failed:
            shutil.rmtree(home.path)


def show_a_run(client: Client, checks: Checks) -> None:
    checks.chapter("1. An engine writes a short book")
    execution = client.post(
        "/v1/executions", {"engine": ENGINE, "input": {"topic": "a lighthouse in winter"}}
    )
    view = watch(client, execution["id"])
    checks.check("the execution is completed", view.status == "completed", view.status)


def show_a_stop(client: Client, checks: Checks) -> None:
    checks.chapter("2. A stop in the middle of a model call")
    execution = client.post(
        "/v1/executions", {"engine": ENGINE, "input": {"topic": "a ship that comes late"}}
    )
    view = RunView(execution["id"])
    asked = False
    for event in follow(client, execution["id"]):
        view.apply(event)
        written = sum(len(node.text) for node in view.nodes.values())
        if event.name == "delta" and written >= CHARACTERS_BEFORE_STOP and not asked:
            asked = True
            client.post(f"/v1/executions/{execution['id']}/stop", {"reason": "seen enough"})
    ended = client.get(f"/v1/executions/{execution['id']}")
    stop = ended.get("stop") or {}
    kept = client.text(f"/v1/executions/{execution['id']}/output", "text/plain")
    checks.check("the execution is stopped, not completed", ended["status"] == "stopped", ended["status"])
    checks.check(
        "the socket to the provider was closed", bool(stop.get("closed_at")), render.stop_times(ended)
    )
    checks.check("the text written so far is kept", len(kept) > 0, f"{len(kept)} characters")
    checks.check(
        "its tokens are counted", ended["tokens"]["total"] > 0, render.tokens_in_full(ended["tokens"])
    )


def show_the_rollup(client: Client, provider_url: str, checks: Checks) -> None:
    checks.chapter("3. What was used")
    ledger = provider_sums(provider_url)
    report = _settled_usage(client, ledger)
    print_usage(report, "model", "hour")
    counted = {kind: report["totals"].get(kind) or 0 for kind in TOKEN_KINDS}
    checks.check("the rollup equals the provider's own ledger, kind by kind", counted == ledger)
    if counted != ledger:
        checks.check("provider's ledger", False, ledger)


def provider_sums(provider_url: str) -> dict[str, int]:
    """Tokens by kind of all calls that the stand-in has answered."""
    summary = httpx.get(f"{provider_url}/admin/ledger/summary", timeout=5.0, trust_env=False).json()
    sums: Counter[str] = Counter()
    for model in summary["by_model"].values():
        sums.update(model)
    return {kind: sums[kind] for kind in TOKEN_KINDS}


def _settled_usage(client: Client, expected: dict[str, int]) -> dict[str, Any]:
    """The usage once it has reached what is expected, or what it is when the time for that is over."""

    def usage() -> dict[str, Any]:
        report: dict[str, Any] = client.get("/v1/usage", bucket="hour", group_by="model")
        return report

    poll_until(
        lambda: usage()["totals"].get("total") == expected["total"], seconds=ROLLUP_SECONDS, interval=0.1
    )
    return usage()


def main() -> int:
    checks = Checks(Console(highlight=False))
    try:
        with own_stack() as home:
            stack = read_json(home.stack)
            with Client(find_access(home, environment={})) as client:
                show_a_run(client, checks)
                show_a_stop(client, checks)
                if stack["provider"] == "stand-in":
                    show_the_rollup(client, stack["gemini_url"], checks)
                else:
                    print_usage(client.get("/v1/usage", bucket="hour", group_by="model"), "model", "hour")
    except LekhikaError as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
