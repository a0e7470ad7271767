"""One user's heavy template or schema is worked out in a process of its own, so that it delays nobody else's stop."""

from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest

from shared.execution import Status
from tests.support.definitions import one
from tests.support.waiting import until
from tests.support.world import ExecutorProcess, World, world

HEAVY = "{% for i in range(4000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}"
ENDLESS_SCHEMA = {
    "type": "object",
    "required": ["t"],
    "properties": {"t": {"type": "string", "enum": ["a" * 40 + "!"], "pattern": "^(a+)+$"}},
}
ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.fixture(scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world")) as made:
        made.executor()
        yield made


def text(template: str) -> dict[str, Any]:
    return {"nodes": [{"id": "t", "kind": "template", "template": template}], "output": "t"}


def children(executor: ExecutorProcess) -> list[psutil.Process]:
    return psutil.Process(executor.process.pid).children()


async def test_a_heavy_template_completes(here: World) -> None:
    key = await here.request(text(HEAVY + "done"))
    await until(lambda: children(here.executors[0]))
    state = await here.ended(key)
    assert state.status is Status.COMPLETED
    assert state.nodes["t"].output is not None
    assert state.nodes["t"].output.text == "done"


async def test_the_items_of_a_loop_are_worked_out_once(here: World) -> None:
    loop = {
        "id": "parts",
        "kind": "for_each",
        "items": "{{ ((range(3) | list) * 9999) | unique | sort | list }}",
        "concurrency": 1,
        "node": {"kind": "template", "template": HEAVY + "{{ item }}"},
    }
    joined = {"id": "end", "kind": "template", "template": "{{ parts | join }}"}
    state = await here.ended(await here.request({"nodes": [loop, joined], "output": "end"}))
    assert state.status is Status.COMPLETED
    assert state.nodes["end"].output is not None
    assert state.nodes["end"].output.text == "012"


async def test_a_template_without_an_end_fails(here: World) -> None:
    state = await here.ended(await here.request(text(ENDLESS)))
    assert state.error is not None
    assert (state.status, state.error.code) == (Status.FAILED, "template_error")
    assert state.error.node == "t"
    assert state.error.message.startswith("Node t: the time ran out in its template")


async def test_a_template_that_eats_the_memory_is_told_so(here: World) -> None:
    eater = "{% set ns = namespace(x='x') %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
    state = await here.ended(await here.request(text(eater + "{{ ns.x | length }}")))
    assert state.error is not None
    assert (state.error.code, state.error.node) == ("template_error", "t")
    assert "needs more than 256 MiB of memory" in state.error.message


async def test_a_stop_ends_the_process_that_works_it_out(here: World) -> None:
    key = await here.request(text(ENDLESS))
    await until(lambda: children(here.executors[0]))
    await here.stop(key)
    state = await here.ended(key)
    assert (state.status, state.anomalies) == (Status.STOPPED, ())
    await until(lambda: not children(here.executors[0]))


async def test_a_schema_without_an_end_fails_the_node(here: World) -> None:
    state = await here.ended(await here.request(one("short", output_schema=ENDLESS_SCHEMA)))
    assert state.error is not None
    assert (state.status, state.error.code) == (Status.FAILED, "schema_mismatch")
    assert "to check it takes more than" in state.error.message


async def test_a_stop_ends_the_process_that_checks_an_answer(here: World) -> None:
    key = await here.request(one("short", output_schema=ENDLESS_SCHEMA))
    await until(lambda: children(here.executors[0]))
    await here.stop(key)
    state = await here.ended(key)
    assert (state.status, state.anomalies) == (Status.STOPPED, ())
    await until(lambda: not children(here.executors[0]))
