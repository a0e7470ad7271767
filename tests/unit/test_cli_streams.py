"""Server-sent events and the view folded from them."""

import io
import time
from typing import Any

import pytest
from rich.console import Console

from deploy.local import queue_words
from deploy.local.run_view import RunView
from deploy.local.sse import Event, parse
from deploy.local.watching import LiveDisplay


def event(name: str, **data: Any) -> Event:
    return Event(id=None, name=name, data=data)


def delta(offset: int, text: str, attempt: int = 1) -> Event:
    return event("delta", node="edit", attempt=attempt, offset=offset, text=text)


def test_parse_yields_complete_events_with_the_last_id_and_passes_over_comments() -> None:
    lines = [
        ": ping",
        "id: 7",
        "event: state",
        'data: {"status":',
        'data: "running"}',
        "",
        "event: lost",
        "",
        "data: {}",
        "",
    ]
    assert list(parse(lines)) == [
        Event(id="7", name="state", data={"status": "running"}),
        Event(id="7", name="message", data={}),
    ]


def test_parse_drops_an_event_that_was_cut_off() -> None:
    assert list(parse(["event: end", "data: {}"])) == []


def test_text_is_put_together_by_offset_and_a_repeated_piece_changes_nothing() -> None:
    view = RunView("e")
    for piece in (delta(0, "Once "), delta(5, "upon"), delta(5, "upon"), delta(9, " a time")):
        view.apply(piece)
    assert view.nodes["edit"].text == "Once upon a time"


def test_a_new_attempt_starts_the_text_anew_and_the_old_one_is_not_heard_any_more() -> None:
    view = RunView("e")
    for piece in (delta(0, "old text"), delta(0, "new", attempt=2), delta(8, " more old", attempt=1)):
        view.apply(piece)
    assert view.nodes["edit"].text == "new"


def test_a_snapshot_brings_everything_up_to_date() -> None:
    view = RunView("e")
    nodes = [{"id": "outline", "kind": "generate", "status": "completed", "tokens": {"total": 12}}]
    view.apply(event("snapshot", status="running", engine={"name": "Book"}, nodes=nodes))
    assert (view.status, view.engine, view.nodes["outline"].tokens) == ("running", "Book", 12)


def test_only_a_change_of_status_is_reported() -> None:
    view = RunView("e")
    started = event("node", id="outline", status="running", attempt=1)
    assert [node.id for node in view.apply(started)] == ["outline"]
    assert view.apply(started) == []


def test_items_stand_after_their_parent_in_the_order_of_the_list() -> None:
    view = RunView("e")
    nodes = [{"id": "outline"}, {"id": "parts"}, {"id": "text"}]
    view.apply(event("snapshot", status="running", nodes=nodes))
    for item in ("parts/10", "parts/2"):
        view.apply(event("node", id=item, status="running"))
    assert [node.id for node in view.in_order()] == ["outline", "parts", "parts/2", "parts/10", "text"]


def test_a_wait_is_told_until_text_comes() -> None:
    view = RunView("e")
    view.apply(
        event("delta", node="edit", attempt=1, offset=0, text="", waiting={"reason": "quota", "seconds": 2})
    )
    assert view.nodes["edit"].waiting == "waiting 2 s for quota"
    view.apply(delta(0, "text"))
    assert view.nodes["edit"].waiting is None


def test_a_queued_one_has_a_place_until_it_starts() -> None:
    view = RunView("e")
    queue = {"position": 2, "ahead": 1, "estimated_wait_seconds": None}
    view.apply(event("snapshot", status="queued", queue=queue))
    assert view.queue == queue
    view.apply(event("state", status="running", queue=None))
    assert view.queue is None


@pytest.mark.parametrize(
    ("position", "seconds", "words"),
    [
        (1, 0.02, "next, less than 1 s (estimated)"),
        (2, None, "place 2, wait not known yet"),
        (1234, 89.0, "place 1,234, about 89 s (estimated)"),
        (3, 1500.0, "place 3, about 25 min (estimated)"),
        (3, 11_000.0, "place 3, about 3 h (estimated)"),
    ],
)
def test_a_place_is_told_in_words_and_an_estimate_as_one(
    position: int, seconds: float | None, words: str
) -> None:
    queue = {"position": position, "ahead": position - 1, "estimated_wait_seconds": seconds}
    assert queue_words.waiting(queue) == words
    assert queue_words.waiting(None) == ""


def test_the_head_of_the_live_view_stays_on_one_line_however_narrow_its_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view = RunView("e")
    queue = {"position": 58, "ahead": 57, "estimated_wait_seconds": 120.0}
    nodes = [{"id": "edit", "status": "pending"}]
    view.apply(event("snapshot", status="queued", queue=queue, nodes=nodes, engine={"name": "Short book"}))
    console = Console(file=io.StringIO(), width=80)
    monkeypatch.setattr(time, "monotonic", lambda: 7.0)
    display = LiveDisplay(console)
    display.show(view, [])
    console.print(display._render())
    assert isinstance(console.file, io.StringIO)
    head, columns, _ = console.file.getvalue().splitlines()
    assert head.strip() == "Short book: queued, 0.0 s; place 58, about 2 min (estimated)"
    assert columns.split() == ["node", "state", "model", "tokens", "time"]


def test_the_end_has_the_final_status() -> None:
    view = RunView("e")
    view.apply(event("end", status="failed", error={"code": "x", "message": "no"}))
    assert view.ended
    assert view.error == {"code": "x", "message": "no"}
