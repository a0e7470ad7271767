"""What waits for one viewer is bounded, and what many viewers want at once is read once."""

import asyncio
import gc

import pytest

from services.gateway.stream import QUEUE, QUEUE_CHARACTERS, Inbox, TooSlow
from services.gateway.texts import Texts
from shared import ending
from shared.artifacts import ArtifactGone
from shared.deltas import Delta
from shared.events import AnyEvent, ArtifactRef, TextRef
from tests.support.make import folded, history, node_completed, node_started, requested, started

LARGE = TextRef(ref=ArtifactRef(artifact="x/1", size=3, sha256="a"), characters=3)


def piece(text: str) -> Delta:
    return Delta(attempt=1, node="n", node_attempt=1, offset=0, text=text)


@pytest.mark.parametrize(("text", "most"), [("", QUEUE), ("x" * 100_000, QUEUE_CHARACTERS // 100_000 + 1)])
async def test_a_viewer_for_whom_too_much_waits_is_cut(text: str, most: int) -> None:
    inbox = Inbox()
    for _ in range(most):
        inbox.put(piece(text))
        assert not inbox.is_over
    inbox.put(piece(text))
    with pytest.raises(TooSlow):
        inbox.check()


async def test_what_was_read_makes_room() -> None:
    inbox = Inbox()
    for _ in range(3 * QUEUE_CHARACTERS // 1_000_000):
        inbox.put(piece("x" * 1_000_000))
        await inbox.next()
    inbox.check()


def weighty(text: str) -> list[AnyEvent]:
    output = TextRef(text=text, characters=len(text))
    state = folded(history(requested(), started(), node_started("a")))
    call = ending.OpenCall(node="a", node_attempt=1, text=output, usage=())
    return [
        node_completed("a").model_copy(update={"output": output}),
        ending.stopped(state, by="x", reason=None, at=state.last_at, open_calls=[call]),
    ]


@pytest.mark.parametrize("event", weighty("x" * 30_000))
async def test_events_weigh_what_text_they_hold(event: AnyEvent) -> None:
    inbox = Inbox()
    (recorded,) = history(event)
    for _ in range(QUEUE_CHARACTERS // 30_000 + 1):
        inbox.put(recorded)
    assert not inbox.is_over
    inbox.put(recorded)
    assert inbox.is_over


class Bucket:
    """Answers once it is let."""

    def __init__(self, *, gone: bool = False) -> None:
        self.reads = 0
        self.let = asyncio.Event()
        self._gone = gone

    async def get_text(self, text: TextRef) -> str:
        self.reads += 1
        await self.let.wait()
        if self._gone:
            raise ArtifactGone("it is gone")
        return "abc"


async def test_many_who_want_a_text_at_once_share_one_copy_also_when_the_first_leaves() -> None:
    bucket = Bucket()
    texts = Texts(bucket)  # type: ignore[arg-type]
    first, *others = (asyncio.ensure_future(texts.of(LARGE)) for _ in range(5))
    await asyncio.sleep(0)
    first.cancel()
    bucket.let.set()
    found = await asyncio.gather(*others)
    assert bucket.reads == 1
    assert all(text is found[0] for text in found)
    assert await texts.of(LARGE) is found[0]


async def test_nothing_is_kept_of_a_text_that_nobody_holds() -> None:
    bucket = Bucket()
    bucket.let.set()
    texts = Texts(bucket)  # type: ignore[arg-type]
    await texts.of(LARGE)
    await asyncio.sleep(0)  # the loop lets go of the task that read it
    gc.collect()
    assert await texts.of(LARGE) == "abc"
    assert bucket.reads == 2


async def test_a_text_that_is_gone_is_said_to_be_to_each() -> None:
    bucket = Bucket(gone=True)
    bucket.let.set()
    texts = Texts(bucket)  # type: ignore[arg-type]
    found = await asyncio.gather(*(texts.of(LARGE) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in found] == [ArtifactGone] * 3
    assert bucket.reads == 1
