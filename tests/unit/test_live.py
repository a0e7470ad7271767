"""What a viewer puts together is the final text, whatever is lost, repeated, reordered or cut on the way."""

import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway import live
from services.gateway.live import Cursor, LiveView, Sent, ServerEvent
from services.gateway.outstanding import Place
from shared import events as ev
from shared.deltas import Delta
from shared.usage import Kind, ModelUsage, Tier, Tokens
from shared.workflow import Limits, Workflow

WORKFLOW = Workflow.model_validate(
    {
        "nodes": [
            {"id": "outline", "kind": "generate", "model": "m", "prompt": "p"},
            {
                "id": "parts",
                "kind": "for_each",
                "items": "{{ outline.parts }}",
                "node": {"kind": "generate", "model": "m", "prompt": "p"},
            },
            {"id": "text", "kind": "template", "template": "t"},
        ],
        "output": "text",
    }
)
BODY = ev.RequestBody(workflow=WORKFLOW, input={})
ENGINE = ev.EngineRef(id="one", name="One", version=1)
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
USED = (ModelUsage(model="m", tier=Tier.INCLUDED, tokens=Tokens(input=3, output=4)),)


class History:
    """Builds a history event by event."""

    def __init__(self) -> None:
        self.events: list[ev.Recorded] = []

    def add(self, event: ev.AnyEvent) -> ev.Recorded:
        seq = len(self.events) * 3 + 5
        after = self.events[-1].seq if self.events else 0
        time = BEGAN + timedelta(seconds=len(self.events))
        self.events.append(ev.Recorded(execution_id="x", event=event, seq=seq, time=time, after=after))
        return self.events[-1]

    def request(self) -> ev.Recorded:
        return self.add(
            ev.ExecutionRequested(
                user_id="u", lane="now", engine=ENGINE, kind=Kind.INCLUDED, body=BODY, limits=Limits()
            )
        )

    def claim(self, attempt: int = 1) -> ev.Recorded:
        return self.add(ev.ExecutionStarted(attempt=attempt, instance="i"))

    def begin(self, node: str, node_attempt: int = 1, attempt: int = 1, **extra: Any) -> ev.Recorded:
        kind = extra.pop("kind", "generate")
        return self.add(
            ev.NodeStarted(
                attempt=attempt, node=node, kind=kind, node_attempt=node_attempt, model="m", **extra
            )
        )

    def complete(self, node: str, text: str, node_attempt: int = 1, attempt: int = 1) -> ev.Recorded:
        output = ev.TextRef(text=text, characters=len(text))
        return self.add(
            ev.NodeCompleted(
                attempt=attempt,
                node=node,
                kind="generate",
                node_attempt=node_attempt,
                output=output,
                usage=USED,
            )
        )

    def summary(self) -> ev.Summary:
        return ev.Summary(user_id="u", engine=ENGINE, kind=Kind.INCLUDED, attempt=1, requested_at=BEGAN)

    def stop(self, *partials: tuple[str, int, str]) -> ev.Recorded:
        texts = tuple(
            ev.Partial(node=node, attempt=attempt, output=ev.TextRef(text=text, characters=len(text)))
            for node, attempt, text in partials
        )
        stop = ev.StopInfo(by="u", at=BEGAN)
        return self.add(ev.ExecutionStopped(summary=self.summary(), stop=stop, partials=texts))

    def finish(self) -> ev.Recorded:
        return self.add(ev.ExecutionCompleted(summary=self.summary(), output="text"))


class Viewer:
    """A browser: puts texts together by (node, attempt, offset), and refuses what does not fit."""

    def __init__(self) -> None:
        self.texts: dict[str, tuple[int, str]] = {}
        self.last_id = ""
        self.seen: list[str] = []
        self.characters = 0

    def receive(self, events: Iterable[ServerEvent]) -> None:
        for event in events:
            self.last_id = event.id
            self.seen.append(event.event)
            if event.event == "delta":
                self._delta(event.data)

    def _delta(self, data: Any) -> None:
        assert len(data["text"]) <= live.PIECE
        self.characters += len(data["text"])
        attempt, text = self.texts.get(data["node"], (0, ""))
        assert data["attempt"] >= attempt
        if data["attempt"] > attempt:
            text = ""
        assert data["offset"] == len(text), "neither a gap nor a repeat"
        self.texts[data["node"]] = (data["attempt"], text + data["text"])


def connect(viewer: Viewer, history: Sequence[ev.Recorded]) -> LiveView:
    """A new connection, to any gateway, which goes on after the last id."""
    view = LiveView(BODY, DAY, Cursor.parse(viewer.last_id))
    viewer.receive([view.open(history)])
    for recorded in history:
        feed(viewer, view, recorded)
    return view


def feed(viewer: Viewer, view: LiveView, recorded: ev.Recorded) -> None:
    texts = {wanted.node: wanted.text.text or "" for wanted in view.wanted(recorded)}
    viewer.receive(view.take(recorded, texts))


def delta(node: str, offset: int, text: str, node_attempt: int = 1) -> Delta:
    return Delta(attempt=1, node=node, node_attempt=node_attempt, offset=offset, text=text)


def running() -> tuple[History, Viewer, LiveView]:
    history, viewer = History(), Viewer()
    history.request()
    history.claim()
    history.begin("outline")
    return history, viewer, connect(viewer, history.events)


class TestWhatIsSent:
    def test_a_snapshot_comes_first_and_an_end_last(self) -> None:
        history, viewer = History(), Viewer()
        history.request()
        history.claim()
        history.begin("outline")
        history.complete("outline", "Tea")
        history.finish()
        view = connect(viewer, history.events)
        assert viewer.seen == ["snapshot", "delta", "end"]
        assert viewer.texts == {"outline": (1, "Tea")}
        assert view.ended

    def test_changes_after_the_snapshot_are_events_of_their_own(self) -> None:
        history, viewer, view = running()
        feed(viewer, view, history.complete("outline", "Tea"))
        feed(viewer, view, history.begin("parts", kind="for_each", items=2))
        feed(viewer, view, history.finish())
        parts = ["node", "node", "node"]  # the for_each, and its items that wait
        assert viewer.seen == ["snapshot", "delta", "node", "state", *parts, "node", "state", "end"]

    def test_a_queued_one_tells_its_place_when_it_changes_until_it_starts(self) -> None:
        history = History()
        history.request()
        view = LiveView(BODY, DAY)
        view.place = Place(4, None)
        assert view.open(history.events).data["queue"]["position"] == 5
        assert list(view.placed(Place(4, None))) == []
        (moved,) = view.placed(Place(0, 12.345))
        assert (moved.event, moved.data["queue"]) == (
            "state",
            {"position": 1, "ahead": 0, "estimated_wait_seconds": 12.0},
        )
        started = history.add(ev.ExecutionStarted(attempt=1, instance="i"))
        assert [event.data["queue"] for event in view.take(started, {})] == [None]
        assert list(view.placed(Place(1, None))) == []

    def test_an_event_heard_twice_is_told_once(self) -> None:
        history, viewer, view = running()
        done = history.complete("outline", "Tea")
        feed(viewer, view, done)
        before = list(viewer.seen)
        feed(viewer, view, done)
        feed(viewer, view, history.events[0])
        assert viewer.seen == before

    def test_a_piece_beyond_a_gap_waits_for_what_is_missing(self) -> None:
        _, viewer, view = running()
        viewer.receive(view.piece(delta("outline", 4, "tea")))
        assert viewer.texts == {}
        assert view.has_gap
        viewer.receive(view.piece(delta("outline", 0, "Hot ")))
        assert viewer.texts == {"outline": (1, "Hot tea")}
        assert not view.has_gap

    def test_a_lost_piece_comes_with_the_whole_text(self) -> None:
        history, viewer, view = running()
        viewer.receive(view.piece(delta("outline", 0, "Hot ")))
        viewer.receive(view.piece(delta("outline", 6, "!")))
        feed(viewer, view, history.complete("outline", "Hot tea!"))
        assert viewer.texts == {"outline": (1, "Hot tea!")}
        assert viewer.characters == len("Hot tea!")

    def test_a_new_start_of_a_node_begins_its_text_anew_and_ends_the_old_one(self) -> None:
        history, viewer, view = running()
        viewer.receive(view.piece(delta("outline", 0, "Cold")))
        feed(viewer, view, history.begin("outline", node_attempt=2))
        viewer.receive(view.piece(delta("outline", 4, " water")))
        viewer.receive(view.piece(delta("outline", 0, "Hot", node_attempt=2)))
        assert viewer.texts == {"outline": (2, "Hot")}

    def test_text_of_a_start_that_is_over_is_taken_back_at_once(self) -> None:
        history, viewer, view = running()
        viewer.receive(view.piece(delta("outline", 0, "Cold")))
        feed(viewer, view, history.begin("outline", node_attempt=2))
        assert viewer.texts == {"outline": (2, "")}

    def test_the_text_of_a_stopped_node_is_completed_from_the_end(self) -> None:
        history, viewer, view = running()
        viewer.receive(view.piece(delta("outline", 0, "Ho")))
        feed(viewer, view, history.stop(("outline", 1, "Hot te")))
        assert viewer.texts == {"outline": (1, "Hot te")}
        assert viewer.seen[-1] == "end"

    def test_a_long_text_comes_in_pieces_cut_between_characters(self) -> None:
        history, viewer, view = running()
        text = "🍵" * (live.PIECE * 2 + 1)
        feed(viewer, view, history.complete("outline", text))
        assert viewer.seen.count("delta") == 3
        assert viewer.texts["outline"] == (1, text)

    def test_texts_that_the_viewer_has_are_not_asked_for(self) -> None:
        history, viewer, view = running()
        viewer.receive(view.piece(delta("outline", 0, "Tea")))
        assert view.wanted(history.complete("outline", "Tea")) == []

    def test_the_running_sum_of_tokens_is_that_of_the_fold(self) -> None:
        history, viewer, view = running()
        feed(viewer, view, history.begin("outline", node_attempt=2, lost=USED))
        feed(viewer, view, history.complete("outline", "Tea", node_attempt=2))
        assert view._tokens == view.opened.tokens
        assert view._tokens.total == 14


class TestResuming:
    def test_nothing_is_sent_again(self) -> None:
        history, viewer, view = running()
        viewer.receive(view.piece(delta("outline", 0, "Hot ")))
        history.complete("outline", "Hot tea")
        connect(viewer, history.events)
        assert viewer.texts == {"outline": (1, "Hot tea")}

    def test_an_ended_execution_is_ended_again(self) -> None:
        history, viewer, view = running()
        feed(viewer, view, history.finish())
        assert connect(viewer, history.events).ended
        assert viewer.seen[-2:] == ["snapshot", "end"]

    def test_a_start_that_is_over_is_forgotten(self) -> None:
        history, viewer, view = running()
        viewer.receive(view.piece(delta("outline", 0, "Cold")))
        history.begin("outline", node_attempt=2)
        view = connect(viewer, history.events)
        viewer.receive(view.piece(delta("outline", 0, "Hot", node_attempt=2)))
        assert viewer.texts == {"outline": (2, "Hot")}

    @pytest.mark.parametrize(
        "text",
        ["", "x", "-1", "1;", "1;a", "1;a:1", "1;a:1:2,", "1;A:1:2", "1;a:1:2;b:1:2", "1;a:1:-2", "1\n", "٣"],
    )
    def test_what_was_never_an_id_is_none(self, text: str) -> None:
        assert Cursor.parse(text) is None

    def test_an_id_is_read_back(self) -> None:
        cursor = Cursor(1234, {"outline": Sent(1, 345), "parts/0": Sent(2, 12)})
        assert str(cursor) == "1234;outline:1:345,parts/0:2:12"
        assert Cursor.parse(str(cursor)) == cursor

    def test_an_id_from_another_history_counts_for_nothing(self) -> None:
        history, viewer, _ = running()
        history.complete("outline", "Tea")
        viewer.last_id = "999999;outline:1:2"
        connect(viewer, history.events)
        assert viewer.texts == {"outline": (1, "Tea")}


TEXT = st.text(alphabet='ab🍵\n"é', min_size=0, max_size=40)


@st.composite
def scripts(draw: st.DrawFn) -> tuple[list[ev.Recorded | Delta], dict[str, tuple[int, str]]]:
    """What happens, in order, and the final texts. Deltas are lost, repeated and moved about."""
    history = History()
    happened: list[ev.Recorded | Delta] = [history.request(), history.claim()]
    final: dict[str, tuple[int, str]] = {}
    unfinished: list[tuple[str, int, str]] = []
    happened.append(history.begin("parts", kind="for_each", items=3))
    for node in ("outline", "parts/0", "parts/1", "parts/2"):
        attempts = draw(st.integers(1, 2))
        for attempt in range(1, attempts + 1):
            text = draw(TEXT)
            happened.append(history.begin(node, node_attempt=attempt))
            happened += draw(pieces_of(node, attempt, text))
        if draw(st.booleans()):
            happened.append(history.complete(node, text, node_attempt=attempts))
            final[node] = (attempts, text)
        else:
            unfinished.append((node, attempts, text))
    happened.append(history.stop(*unfinished))
    final.update({node: (attempt, text) for node, attempt, text in unfinished})
    return draw(shuffled_deltas(happened)), {node: known for node, known in final.items() if known[1]}


def pieces_of(node: str, attempt: int, text: str) -> st.SearchStrategy[list[ev.Recorded | Delta]]:
    cuts = st.lists(st.integers(0, len(text)), max_size=6).map(lambda found: sorted({0, *found, len(text)}))
    return cuts.map(
        lambda marks: [
            delta(node, start, text[start:end], attempt) for start, end in itertools.pairwise(marks)
        ]
    )


@st.composite
def shuffled_deltas(draw: st.DrawFn, happened: list[ev.Recorded | Delta]) -> list[ev.Recorded | Delta]:
    """Events stay in order; each delta is kept, dropped, doubled, or moved to another place."""
    kept = [item for item in happened if isinstance(item, ev.Recorded)]
    place = 0
    for item in happened:
        if isinstance(item, ev.Recorded):
            place = kept.index(item) + 1
            continue
        for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2]))):
            jump = draw(st.sampled_from([0, 0, 0, -2, 1, 3]))
            kept.insert(max(3, min(len(kept), place + jump)), item)  # type: ignore[arg-type]
            place += 1
    return list(kept)


@settings(max_examples=300, deadline=None)
@given(scripts(), st.data())
def test_the_text_put_together_is_the_final_one(
    script: tuple[list[ev.Recorded | Delta], dict[str, tuple[int, str]]], data: st.DataObject
) -> None:
    happened, final = script
    stored = [item for item in happened if isinstance(item, ev.Recorded)]
    viewer, told = Viewer(), 1
    view = connect(viewer, stored[:told])
    for item in happened[1:]:
        if isinstance(item, ev.Recorded):
            told += 1
        match data.draw(st.sampled_from(["go on", "go on", "go on", "cut", "cut before it is heard"])):
            case "cut":
                feed_any(viewer, view, item)
                view = connect(viewer, stored[:told])
            case "cut before it is heard":
                view = connect(viewer, stored[:told])
            case _:
                feed_any(viewer, view, item)
    view = connect(viewer, stored)
    assert view.ended
    assert {node: known for node, known in viewer.texts.items() if known[1]} == final
    assert viewer.seen[-1] == "end"


def feed_any(viewer: Viewer, view: LiveView, item: ev.Recorded | Delta) -> None:
    if isinstance(item, Delta):
        viewer.receive(view.piece(item))
    else:
        feed(viewer, view, item)
