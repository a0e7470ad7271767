"""What takes a core for long waits in threads, or processes, of its own kind: neither for others, nor they for it."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from pydantic import SecretStr

from services.executor import apart, planning
from services.executor.apart import Answer, Apart, Question, answer_to
from services.executor.planner import Plan, Program, plan
from services.executor.planning import Planning
from services.gateway.engine_checks import AT_ONCE, PER_USER, EngineChecks
from services.gateway.passwords import Passwords
from services.gateway.problems import Problem
from shared.workflow import Engine
from tests.support.make import folded, history, requested, started, workflow
from tests.support.waiting import until

CHECKED = cast("Engine", object())
LONG = "{{ [" + "1," * 60_000 + "]|length }}"


class Held:
    """Checks that last until they are let go."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.running = 0

    def check(self) -> Engine:
        self.running += 1
        assert self.free.wait(20)
        return CHECKED


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    made = Held()
    yield made
    made.free.set()


async def running(held: Held, count: int) -> None:
    await until(lambda: held.running >= count)


async def test_a_log_in_waits_neither_for_checks_nor_for_the_threads_of_others(held: Held) -> None:
    checks, passwords = EngineChecks(), Passwords()
    waiting = [asyncio.create_task(checks.run(f"user{number}", held.check)) for number in range(AT_ONCE)]
    await running(held, AT_ONCE)
    loop, others = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    loop.set_default_executor(others)
    other = asyncio.create_task(asyncio.to_thread(held.check))
    await running(held, AT_ONCE + 1)
    known = await asyncio.wait_for(passwords.digest(SecretStr("secret")), 10)
    assert await asyncio.wait_for(passwords.fits(known, SecretStr("secret")), 10)
    held.free.set()
    assert await asyncio.gather(*waiting, other) == [CHECKED] * (AT_ONCE + 1)
    loop.set_default_executor(ThreadPoolExecutor())


async def test_of_one_user_one_definition_is_checked_at_a_time(held: Held) -> None:
    checks = EngineChecks()
    waiting = [asyncio.create_task(checks.run("ada", held.check)) for _ in range(PER_USER)]
    await running(held, 1)
    assert await asyncio.wait_for(checks.run("bob", lambda: CHECKED), 5) is CHECKED
    assert held.running == 1
    with pytest.raises(Problem) as refused:
        await checks.run("ada", held.check)
    assert (refused.value.status, refused.value.code) == (429, "too_many_checks")
    held.free.set()
    assert await asyncio.gather(*waiting) == [CHECKED] * PER_USER
    assert await checks.run("ada", lambda: CHECKED) is CHECKED


def long_program() -> Program:
    """As an earlier release may have stored it."""
    return Program(
        workflow=workflow({"nodes": [{"id": "a", "kind": "template", "template": LONG}], "output": "a"}),
        inputs={},
    )


class Asked(Apart):
    def __init__(self) -> None:
        super().__init__()
        self.questions: list[Question] = []

    async def answer(self, question: Question) -> Answer:
        self.questions.append(question)
        return Answer(plan=Plan(output="a"), lists={}, waits_for={"a": frozenset()}, seconds=0.0)


async def test_templates_that_take_long_to_be_read_are_read_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()  # what other tests left must not be cleared away within the bound, where it swallows the alarm
    monkeypatch.setattr(planning, "FIRST_SECONDS", 0.01)
    asked, program = Asked(), long_program()
    found = await Planning(asked).next(program, folded(history(requested(), started())), {}, frozenset())
    assert [question.program for question in asked.questions] == [program]
    assert found == Plan(output="a")
    assert program.waits_for == {"a": frozenset()}


def test_what_takes_too_long_to_be_read_fails_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "CPU_SECONDS", 0.01)
    state: Any = folded(history(requested(), started()))
    answer = answer_to(Question(program=long_program(), state=state, values={}, busy=frozenset()))
    assert answer.plan.error is not None
    assert answer.plan.error.code == "template_error"
    assert "Make them do less" in answer.plan.error.message
    assert answer.waits_for is None


def test_a_template_that_can_not_be_read_fails_the_execution() -> None:
    nodes = [{"id": "a", "kind": "template", "template": "{{ 1 + }}"}]
    program = Program(workflow=workflow({"nodes": nodes, "output": "a"}), inputs={})
    error = plan(program, folded(history(requested(), started())), {}, frozenset()).error
    assert error is not None
    assert (error.code, "line 1" in error.message) == ("template_error", True)
