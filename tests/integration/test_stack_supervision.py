"""A whole stack with small programs in the place of its services: order, restarts, a clean end."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from deploy.local import silence, supervisor
from deploy.local.home import Home, HomeLock
from deploy.local.plan import StackOptions, StackPlan, Steps, standard_plan
from deploy.local.processes import Launch, StackError
from deploy.local.reporter import Reporter
from deploy.local.stack import Stack

SERVICE = """
import http.server, json, os, sys, uuid
INSTANCE = str(uuid.uuid4())
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"ready": True, "instance": INSTANCE}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
port = sys.argv[-1] if "--port" in sys.argv else os.environ["LEKHIKA_HTTP_PORT"]
http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Ready).serve_forever()
"""


def small_plan() -> StackPlan:
    step = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    service = [sys.executable, "-c", SERVICE]
    plan = standard_plan(executors=2)
    return replace(
        plan,
        services=[replace(one, argv=service) for one in plan.services],
        steps=Steps(migrations=step, topology=step, seed=step),
        standin=service,
    )


@asynccontextmanager
async def running_stack(folder: Path, plan: StackPlan, port: int = 0) -> AsyncIterator[Stack]:
    home = Home(folder)
    home.prepare()
    with HomeLock(home):
        stack = Stack(home, StackOptions(home=folder, port=port), plan, Reporter(Console(quiet=True)))
        try:
            await stack.start()
            async with asyncio.TaskGroup() as group:
                keeping = group.create_task(stack.supervisor.keep())
                yield stack
                keeping.cancel()
        finally:
            await stack.stop(asyncio.Event())


def state(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "stack.json").read_text())
    return content


def pid_of(folder: Path, name: str) -> int:
    return next(int(one["pid"]) for one in state(folder)["processes"] if one["name"] == name)


def children() -> set[psutil.Process]:
    """What this process has started, servers of other tests included."""
    return set(psutil.Process().children(recursive=True))


async def until(fact: Callable[[], bool]) -> None:
    """Polls, as files and processes have no other way to tell a test."""
    async with asyncio.timeout(15):
        while not fact():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def test_stack_file_names_every_service_and_nothing_is_left_at_the_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_stack(tmp_path, small_plan()):
            names = [service["name"] for service in state(tmp_path)["services"]]
            assert names == ["gateway", "executor", "executor", "analytics", "janitor"]
            assert all(service["instance"] for service in state(tmp_path)["services"])
            assert (tmp_path / "stack.json").stat().st_mode & 0o777 == 0o600

    before = children()
    asyncio.run(scenario())
    assert children() == before
    assert not (tmp_path / "stack.json").exists()


@pytest.mark.parametrize("name", ["nats", "postgres", "stand-in", "executor-2"])
def test_what_is_killed_is_started_again(tmp_path: Path, name: str) -> None:
    async def scenario() -> None:
        async with running_stack(tmp_path, small_plan()) as stack:
            before = pid_of(tmp_path, name)
            os.kill(before, signal.SIGKILL)
            await until(lambda: pid_of(tmp_path, name) != before)
            await until(lambda: stack.supervisor.running[name].readiness is not None)

    asyncio.run(scenario())


def be_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(supervisor, "HANGS_SECONDS", 0.1)
    monkeypatch.setattr(silence, "MISSES", 2)


@pytest.mark.fault
def test_what_hangs_is_killed_and_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be_impatient(monkeypatch)

    async def scenario() -> None:
        async with running_stack(tmp_path, small_plan()):
            healthy, hung = pid_of(tmp_path, "executor-1"), pid_of(tmp_path, "executor-2")
            os.kill(hung, signal.SIGSTOP)
            await until(lambda: pid_of(tmp_path, "executor-2") != hung)
            assert pid_of(tmp_path, "executor-1") == healthy

    asyncio.run(scenario())


@pytest.mark.fault
def test_what_hangs_while_it_is_started_again_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_impatient(monkeypatch)
    pause = [sys.executable, "-c", "import signal; signal.pause()"]
    hang = Launch(argv=pause, log=tmp_path / "hung.log", env={})

    async def scenario() -> None:
        async with running_stack(tmp_path, small_plan()) as stack:
            running = stack.supervisor.running["executor-2"]
            launches = [hang, running.member.launch()]
            running.member = replace(
                running.member,
                launch=lambda: launches.pop(0) if len(launches) > 1 else launches[0],
                start_seconds=1.0,
            )
            os.kill(running.process.pid, signal.SIGKILL)
            await until(lambda: len(launches) == 1)
            await until(lambda: answers_again(stack, running.process.pid))

    def answers_again(stack: Stack, killed: int) -> bool:
        running = stack.supervisor.running["executor-2"]
        return running.process.pid != killed and running.readiness is not None

    asyncio.run(scenario())


def test_a_restarted_service_appears_with_its_new_instance(tmp_path: Path) -> None:
    def executor() -> dict[str, Any]:
        found: dict[str, Any] = state(tmp_path)["services"][1]
        return found

    async def scenario() -> None:
        async with running_stack(tmp_path, small_plan()):
            before = executor()
            os.kill(before["pid"], signal.SIGKILL)
            await until(lambda: executor()["instance"] not in (None, before["instance"]))
            assert executor()["health_url"] == before["health_url"]

    asyncio.run(scenario())


@pytest.mark.fault
def test_two_stacks_run_side_by_side(tmp_path: Path) -> None:
    async def scenario() -> None:
        first = Home(tmp_path / "one")
        async with running_stack(first.path, small_plan()):
            # The other one is a process of its own, as signals of ended children go to one stack a process.
            other = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "import tests.integration.test_stack_supervision as t; t.run_alone()",
                str(tmp_path / "two"), stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            answer = await other.communicate()
            assert other.returncode == 0
            assert answer[0].decode().strip() not in ("", state(first.path)["nats_url"])

    asyncio.run(scenario())


def run_alone() -> None:
    """Starts a small stack, prints its NATS address, and ends it."""

    async def scenario(folder: Path) -> None:
        async with running_stack(folder, small_plan()):
            print(state(folder)["nats_url"], flush=True)

    asyncio.run(scenario(Path(sys.argv[-1])))


def test_a_service_that_can_not_start_ends_the_start_with_the_end_of_its_log(tmp_path: Path) -> None:
    plan = small_plan()
    broken = replace(
        plan.services[3], argv=[sys.executable, "-c", "import sys; sys.exit('no such table: users')"]
    )
    plan = replace(plan, services=[*plan.services[:3], broken])

    async def scenario() -> None:
        async with running_stack(tmp_path, plan):
            pytest.fail("the stack must not start")

    before = children()
    with pytest.raises(StackError, match=r"analytics-1 ended with code 1(.|\n)*no such table: users"):
        asyncio.run(scenario())
    assert children() == before


def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            with pytest.raises(StackError, match=f"Port {port} is taken"):
                async with running_stack(tmp_path, small_plan(), port=port):
                    pytest.fail("the stack must not start")
        finally:
            server.close()

    asyncio.run(scenario())
