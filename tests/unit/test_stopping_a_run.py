"""A run that is stopped while something it needs hangs: the end is written all the same, and nothing begins after it."""

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn, cast

import pytest
from nats.aio.client import Client

from services.executor import journal as journals
from services.executor.apart import Apart
from services.executor.journal import Journal
from services.executor.models.provider import Caller, ModelError, ModelRequest, Piece
from services.executor.nodes.context import CallTimes
from services.executor.parts import Parts
from services.executor.run import ExecutionRun, Interrupt, Outcome
from services.executor.server_clock import ServerClock
from shared import artifacts as bucket
from shared import ending
from shared import events as ev
from shared.artifacts import INLINE_BYTES, Artifacts
from shared.execution import Status
from shared.ids import new_id
from shared.tasks import spawn
from shared.usage import Certainty, Tokens
from tests.support.make import MODEL, folded, requested, started
from tests.support.memory_log import MemoryLog

ME = "here"
CALL: dict[str, Any] = {
    "nodes": [{"id": "text", "kind": "generate", "model": MODEL, "prompt": "x"}],
    "output": "text",
}


class Talker:
    """A provider that sends one piece and never ends."""

    name = "talker"

    def __init__(self, text: str) -> None:
        self.text = text
        self.begun = asyncio.Event()

    async def stream(self, request: ModelRequest, caller: Caller) -> None:
        caller.receive(Piece(text=self.text))
        self.begun.set()
        await asyncio.Event().wait()

    async def aclose(self) -> None: ...


class Counter(Talker):
    """Counts what it sends. When we hang up, it breaks off, or does not care."""

    def __init__(self, *, cares: bool) -> None:
        super().__init__("One")
        self._cares = cares
        self._over = asyncio.Event()

    async def stream(self, request: ModelRequest, caller: Caller) -> None:
        caller.connected(self._over.set if self._cares else lambda: None)
        caller.receive(Piece(text=self.text, tokens=Tokens(input=3, output=1)))
        self.begun.set()
        await self._over.wait()
        raise ModelError("provider_unreachable", "The stream broke off.", retryable=True, used=True)


class HungArtifacts(Artifacts):
    """A bucket that takes and gives nothing, and says nothing."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def _put(self, execution_id: str, data: bytes) -> ev.ArtifactRef:
        return await self._hang()

    async def _get(self, ref: ev.ArtifactRef) -> bytes:
        return await self._hang()

    async def _hang(self) -> NoReturn:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets that event")


class Nobody:
    """A connection on which deltas get lost."""

    async def publish(self, *_: Any, **__: Any) -> None: ...


async def claimed(log: Any, artifacts: Artifacts, provider: Any, **changes: Any) -> ExecutionRun:
    key = new_id()
    await log.append(key, requested(CALL, **changes), 0)
    times = CallTimes(first=60, between=60, whole=60, merge=0.001)
    parts = Parts(
        nc=cast("Client", Nobody()), artifacts=artifacts, provider=provider, times=times, clock=ServerClock(),
        apart=Apart(),
    )  # fmt: skip
    journal = Journal(log, folded(await log.load(key)), 1, ME)
    await journal.claim(started(instance=ME))
    return ExecutionRun(parts, journal)


async def stop(log: MemoryLog, run: ExecutionRun) -> None:
    """As the gateway does, and the signal comes."""
    key = run.journal.state.id
    history = await log.load(key)
    await log.append(key, ev.StopRequested(by="somebody"), history[-1].seq)
    run.heard((await log.load(key))[-1])


@pytest.mark.parametrize(
    ("cares", "certainty"),
    [(True, Certainty.MEASURED), (False, Certainty.ESTIMATED)],
    ids=["breaks off", "goes on"],
)
async def test_a_count_is_an_estimate_where_the_provider_did_not_end_the_call(
    cares: bool, certainty: Certainty
) -> None:
    """It may have counted more than it told."""
    log, provider = MemoryLog(), Counter(cares=cares)
    run = await claimed(log, HungArtifacts(), provider)
    driven = spawn(run.drive(), name="run")
    await provider.begun.wait()
    await stop(log, run)
    assert await asyncio.wait_for(driven, 5) is Outcome.ENDED
    tokens = folded(await log.load(run.journal.state.id)).tokens
    assert (tokens.input, tokens.output, tokens.certainty) == (3, 1, certainty)


async def test_while_its_workflow_is_fetched_and_does_not_come() -> None:
    log, artifacts = MemoryLog(), HungArtifacts()
    run = await claimed(
        log, artifacts, Talker(""), body=ev.ArtifactRef(artifact="a", size=1, sha256="0" * 64)
    )
    driven = spawn(run.drive(), name="run")
    await artifacts.asked.wait()
    run.interrupt(Interrupt.RELEASE)  # and at the same moment its executor is asked to end
    await stop(log, run)
    assert await asyncio.wait_for(driven, 1) is Outcome.ENDED
    assert folded(await log.load(run.journal.state.id)).status is Status.STOPPED


async def test_with_a_text_that_the_bucket_does_not_take_its_beginning_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bucket, "PARTIAL_SECONDS", 0.05)
    log, talker = MemoryLog(), Talker("ä" * 2 * INLINE_BYTES)
    run = await claimed(log, HungArtifacts(), talker)
    driven = spawn(run.drive(), name="run")
    await talker.begun.wait()
    await stop(log, run)
    assert await asyncio.wait_for(driven, 5) is Outcome.ENDED
    (partial,) = folded(await log.load(run.journal.state.id)).partials
    assert partial.output.text == "ä" * INLINE_BYTES
    assert partial.output.characters == INLINE_BYTES


class SlowAnswers(MemoryLog):
    """Stores at once; what becomes of a `node_started` is heard only after `meanwhile` is done."""

    meanwhile: Callable[[], Any]

    async def append(self, execution_id: str, event: ev.AnyEvent, after: int, **given: Any) -> int:
        seq = await super().append(execution_id, event, after, **given)
        if isinstance(event, ev.NodeStarted):
            await self.meanwhile()
            await asyncio.sleep(0.03)  # longer than the journal takes for a prompt answer in this test
        return seq


@pytest.mark.parametrize("ended", [True, False])
async def test_no_call_begins_when_its_start_is_acknowledged_after_the_stop(
    ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the process hung, or its connection did, and no signal has come through yet."""
    monkeypatch.setattr(journals, "LATE_SECONDS", 0.02)
    log, talker = SlowAnswers(), Talker("x")
    run = await claimed(log, HungArtifacts(), talker)
    key = run.journal.state.id

    async def end() -> None:
        seq = (await log.load(key))[-1].seq
        seq = await log.append(key, ev.StopRequested(by="somebody"), seq)
        if ended:
            state = folded(await log.load(key))
            await log.append(key, ending.stopped(state, by="x", reason=None, at=state.last_at), seq)

    log.meanwhile = end
    assert await asyncio.wait_for(run.drive(), 5) is (Outcome.FENCED if ended else Outcome.ENDED)
    assert not talker.begun.is_set()
    assert folded(await log.load(key)).anomalies == ()
