"""Cut, killed, moved, without NATS, with a dying executor: the text that a client assembles is byte for byte the
output, and the same address tells the whole story until it is pruned.
"""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson
import pytest

from shared import deltas, ending, subjects
from shared import events as ev
from shared.artifacts import INLINE_BYTES, Artifacts
from shared.deltas import Delta
from shared.execution import Status
from tests.support import make
from tests.support.gateway import Database, running_database
from tests.support.live_field import Field, playing
from tests.support.world import World

QUICK = {"LEKHIKA_ACK_WAIT_SECONDS": "5"}
STRANGE = 'ab é \r\n \n\r\r \u2028\u2029\x85 🌊👩‍🚀𝒳 \u0000\t\\"<&> नदी\u0301'
"""Line ends, separators, characters of two code units, combining ones, and what JSON must escape."""


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with running_database(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture
async def field(tmp_path_factory: pytest.TempPathFactory, postgres: Database) -> AsyncIterator[Field]:
    async with playing(tmp_path_factory.mktemp("field"), postgres) as made:
        yield made


def book(options: str) -> dict[str, Any]:
    """A plan, four texts that are written at once, and a strange frame around them, too large for an event."""
    frame = STRANGE.replace("\0", "") * (INLINE_BYTES // len(STRANGE.encode()) + 1)
    plan = {
        "id": "plan",
        "kind": "generate",
        "model": make.MODEL,
        "prompt": "Plan [[standin chunk_ms=20]]",
        "output_schema": {
            "type": "object",
            "properties": {
                "parts": {"type": "array", "items": {"type": "string"}, "minItems": 4, "maxItems": 4}
            },
            "required": ["parts"],
        },
    }
    part = {
        "kind": "generate",
        "model": make.MODEL,
        "prompt": f"Write {{{{ part }}}} 🌊 [[standin {options}]]",
    }
    parts = {
        "id": "parts",
        "kind": "for_each",
        "items": "{{ plan.parts }}",
        "as": "part",
        "concurrency": 4,
        "node": part,
    }
    text = {"id": "text", "kind": "template", "template": frame + "{% for p in parts %}{{ p }}{% endfor %}"}
    return {"id": "fire", "name": "Fire", "inputs": {}, "nodes": [plan, parts, text], "output": "text"}


SLOW = "chunk_ms=40 chunks=100"
"""About four seconds for each of the four."""


async def test_cut_every_200_ms_and_moved_between_gateways(field: Field) -> None:
    field.world.executor(**QUICK)
    key = await field.start(book(SLOW))
    viewers = field.viewers(key, 8, cut=0.2)
    await asyncio.gather(*(viewer.watch() for viewer in viewers))
    await field.check(viewers)
    assert (await field.world.state(key)).status is Status.COMPLETED
    assert min(viewer.connections for viewer in viewers) > 8
    (late,) = field.viewers(key, 1)
    await late.watch()
    await field.check([late])
    assert late.names.count("end") == 1
    await pruned(field, key)
    async with field.client(1) as client:
        for address in (f"/v1/executions/{key}/events", f"/v1/executions/{key}"):
            assert (await client.get(address)).status_code == 410


async def pruned(field: Field, key: str) -> None:
    """As the janitor leaves it: only the tombstone."""
    state = await field.world.state(key)
    assert state.ended_at is not None
    event = ev.ExecutionPruned(user_id=state.user_id, ended=state.status.value, ended_at=state.ended_at)
    await field.world.log.append(key, event, state.last_seq)


async def test_gateways_that_are_killed_and_restarted_while_they_are_watched(field: Field) -> None:
    field.world.executor(**QUICK)
    key = await field.start(book("chunk_ms=100 chunks=150"))
    viewers = field.viewers(key, 6)
    watching = [asyncio.ensure_future(viewer.watch()) for viewer in viewers]
    await field.world.writing(key, "parts/0")
    for number, how in ((0, signal.SIGKILL), (1, signal.SIGTERM), (0, signal.SIGTERM), (1, signal.SIGKILL)):
        await field.gateways[number].again(how)
    await asyncio.gather(*watching)
    await field.check(viewers)
    assert min(viewer.connections for viewer in viewers) > 1


async def test_nats_is_away_for_some_seconds(field: Field) -> None:
    field.world.executor(**QUICK)
    key = await field.start(book("chunk_ms=60 chunks=150"))
    viewers = field.viewers(key, 4) + field.viewers(key, 4, cut=0.2)
    watching = [asyncio.ensure_future(viewer.watch()) for viewer in viewers]
    await field.world.writing(key, "parts/1")
    field.world.server.stop()
    await asyncio.sleep(4)  # the fault itself
    field.world.server.start()
    await asyncio.gather(*watching)
    await field.check(viewers)


async def test_an_executor_is_killed_in_the_middle_and_its_texts_begin_anew(field: Field) -> None:
    doomed = field.world.executor(**QUICK)
    key = await field.start(book(SLOW))
    viewers = field.viewers(key, 3) + field.viewers(key, 3, cut=0.2)
    watching = [asyncio.ensure_future(viewer.watch()) for viewer in viewers]
    await field.world.writing(key, "parts/2")
    field.world.executor(**QUICK)
    await doomed.ended(signal.SIGKILL)
    await asyncio.gather(*watching)
    await field.check(viewers)
    state = await field.world.state(key)
    assert state.attempt == 2
    assert max(attempt for viewer in viewers for attempt, _ in viewer.texts.values()) == 2


async def test_a_stop_in_the_middle_keeps_what_was_seen(field: Field) -> None:
    field.world.executor(**QUICK)
    key = await field.start(book("chunk_ms=100 chunks=500"))
    viewers = field.viewers(key, 3) + field.viewers(key, 3, cut=0.2)
    watching = [asyncio.ensure_future(viewer.watch()) for viewer in viewers]
    await field.world.writing(key, "parts/3")
    async with field.client(1) as client:
        await client.post(f"/v1/executions/{key}/stop")
    await asyncio.gather(*watching)
    await field.check(viewers)
    assert (await field.world.state(key)).status is Status.STOPPED


async def test_any_text_in_any_pieces_some_of_them_lost_repeated_or_out_of_order(field: Field) -> None:
    key = await field.start(book(SLOW))
    viewers = field.viewers(key, 2) + field.viewers(key, 6, cut=0.2)
    watching = [asyncio.ensure_future(viewer.watch()) for viewer in viewers]
    await Pen(field.world, key, random.Random(7)).play()
    await asyncio.gather(*watching)
    await field.check(viewers)


class Pen:
    """Plays the executor: writes several nodes at once, in pieces that do not all arrive."""

    def __init__(self, here: World, key: str, numbers: random.Random) -> None:
        self._here = here
        self._key = key
        self._numbers = numbers
        self._artifacts = Artifacts(here.nc)

    async def append(self, event: ev.AnyEvent) -> None:
        state = await self._here.state(self._key)
        await self._here.log.append(self._key, event, state.last_seq)

    async def play(self) -> None:
        await self.append(make.started(instance="pen"))
        plan = orjson.dumps({"parts": list("abcd")}).decode()
        await self.append(make.node_started("plan"))
        await self.append(make.node_completed("plan", plan, structured=True))
        begun = make.node_started("parts").model_copy(update={"kind": "for_each", "items": 4, "model": None})
        await self.append(begun)
        nodes = [f"parts/{number}" for number in range(4)]
        for attempt in (1, 2):
            for node in nodes:
                await self.append(make.node_started(node, node_attempt=attempt))
            texts = {node: self._text(40_000) for node in nodes}
            await asyncio.gather(*(self._say(node, attempt, text) for node, text in texts.items()))
        for node, text in texts.items():
            output = await self._artifacts.put_text(self._key, text)
            await self.append(make.node_completed(node, node_attempt=2).model_copy(update={"output": output}))
        await self.append(
            make.node_completed("parts", "[]").model_copy(update={"kind": "for_each", "usage": ()})
        )
        await self.append(make.node_started("text").model_copy(update={"kind": "template", "model": None}))
        output = await self._artifacts.put_text(self._key, "".join(texts.values()))
        changes = {"output": output, "usage": (), "kind": "template"}
        await self.append(make.node_completed("text").model_copy(update=changes))
        await self.append(ending.completed(await self._here.state(self._key), "text"))

    def _text(self, length: int) -> str:
        return "".join(self._numbers.choices(STRANGE, k=length))

    async def _say(self, node: str, attempt: int, text: str) -> None:
        offset = 0
        held: list[Delta] = []
        while offset < len(text):
            size = self._numbers.randint(1, 600)
            piece = Delta(
                attempt=1, node=node, node_attempt=attempt, offset=offset, text=text[offset : offset + size]
            )
            offset += size
            match self._numbers.randint(0, 19):
                case 0:  # lost
                    continue
                case 1:  # late
                    held.append(piece)
                case 2:  # twice
                    await self._publish(piece)
                    await self._publish(piece)
                case _:
                    await self._publish(piece)
            if len(held) > 2:
                await self._publish(held.pop(0))
            await asyncio.sleep(0.02)  # as a model does

    async def _publish(self, piece: Delta) -> None:
        await self._here.nc.publish(subjects.deltas(self._key), deltas.encode(piece))


def test_the_strange_text_is_as_strange_as_it_says() -> None:
    assert len(STRANGE) < len(STRANGE.encode("utf-16-le")) // 2
