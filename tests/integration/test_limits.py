"""Reaching a limit is a stop with that reason: seconds, tokens, bytes of text, nodes."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.execution import ExecutionState, Status
from shared.ids import new_id
from shared.workflow import Limits
from tests.support.definitions import book, one
from tests.support.world import World, world


@pytest.fixture(scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world")) as made:
        made.executor()
        yield made


def repeated(times: int, template: str) -> dict[str, Any]:
    """A loop of templates: text without any model."""
    loop = {
        "id": "parts",
        "kind": "for_each",
        "items": f"{{{{ range({times}) | list }}}}",
        "node": {"kind": "template", "template": template},
    }
    return {
        "nodes": [loop, {"id": "end", "kind": "template", "template": "{{ parts | length }}"}],
        "output": "end",
    }


def assert_stopped_by(state: ExecutionState, reason: str) -> None:
    assert state.stop is not None
    assert (state.status, state.stop.by, state.stop.reason) == (Status.STOPPED, "system:limit", reason)
    assert state.anomalies == ()


@pytest.mark.parametrize(
    ("definition", "limits", "reason"),
    [
        (one("[[standin chunks=200 chunk_ms=20]]"), Limits(tokens=60), "limit of 60 tokens reached"),
        (book("m", "[[standin chunks=200 chunk_ms=20]]"), Limits(tokens=400), "limit of 400 tokens reached"),
        (one("[[standin fault=stall_first]]"), Limits(seconds=1), "limit of 1 seconds reached"),
        (one("[[standin chunks=200 chunk_ms=20]]"), Limits(output_bytes=300), "limit of 300 bytes of text reached"),
        (repeated(50, "0123456789"), Limits(output_bytes=200), "limit of 200 bytes of text reached"),
        (book("m"), Limits(nodes=5), "limit of 5 nodes reached"),
    ],
    ids=["tokens", "tokens of a loop", "seconds in a silent call", "text of a call",
         "text of templates", "nodes"],
)  # fmt: skip
async def test_reaching_a_limit_stops_with_that_reason(
    here: World, definition: dict[str, Any], limits: Limits, reason: str
) -> None:
    assert_stopped_by(await here.ended(await here.request(definition, limits=limits)), reason)


async def test_a_retry_that_would_come_after_the_limit_fails_at_once_with_its_cause(here: World) -> None:
    definition = one("[[standin fault=status_429 delay_s=60]]")
    state = await here.ended(await here.request(definition, limits=Limits(seconds=50)))
    assert state.error is not None
    assert (state.status, state.error.code) == (Status.FAILED, "quota")


async def test_what_just_fits_completes(here: World) -> None:
    fits = Limits(nodes=7)
    state = await here.ended(await here.request(book(new_id()), limits=fits))
    assert state.status is Status.COMPLETED
    state = await here.ended(await here.request(repeated(20, "0123456789"), limits=Limits(output_bytes=202)))
    assert state.status is Status.COMPLETED


async def test_a_text_beyond_its_limit_is_not_stored(here: World) -> None:
    key = await here.request(repeated(1, "x" * 100), limits=Limits(output_bytes=99))
    state = await here.ended(key)
    assert_stopped_by(state, "limit of 99 bytes of text reached")
    assert not state.completed("parts/0")
