"""Shows an execution while it runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from deploy.local import queue_words, render
from deploy.local.client import Client
from deploy.local.run_view import NodeView, RunView
from deploy.local.sse import Event, follow
from deploy.local.terminal import one_way_out

FRAMES_A_SECOND = 12
TEXT_LINES = 10
_MARKS = {
    "running": ("yellow", "running"),
    "completed": ("green", "done"),
    "interrupted": ("magenta", "interrupted"),
    "failed": ("red", "failed"),
}


class Display(AbstractContextManager["Display"], Protocol):
    """Shows a view after each of its events."""

    def show(self, view: RunView, changed: list[NodeView]) -> None: ...


def watch(client: Client, execution_id: str, *, as_json: bool = False) -> RunView:
    """Follows the execution to its end: progress on stderr, its output (or events as JSON lines) on stdout."""
    events = follow(client, execution_id)
    view = RunView(execution_id)
    if as_json:
        for event in events:
            view.apply(event)
            print(json.dumps({"event": event.name, "id": event.id, "data": event.data}), flush=True)
        return view
    console = Console(stderr=True)
    if console.is_terminal:
        with one_way_out():
            show_events(events, view, LiveDisplay(console))
    else:
        show_events(events, view, PlainDisplay(console))
    output = client.text(
        f"/v1/executions/{execution_id}/output", "text/markdown, text/plain;q=0.9, */*;q=0.1"
    )
    sys.stdout.write(output if output.endswith("\n") or not output else output + "\n")
    sys.stdout.flush()
    return view


def show_events(events: Iterable[Event], view: RunView, display: Display) -> None:
    with display:
        for event in events:
            display.show(view, view.apply(event))


class PlainDisplay(Display):
    """A line for each change of a node."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = time.monotonic()
        self._status = ""
        self._place = ""

    def __exit__(self, *_: object) -> None:
        return

    def show(self, view: RunView, changed: list[NodeView]) -> None:
        for node in changed:
            tokens = f", {node.tokens} tokens" if node.tokens else ""
            self._line(f"{node.id} {node.status}{tokens}")
        if view.status != self._status:
            self._status = view.status
            reason = f": {view.error.get('message')}" if view.error else ""
            self._line(f"execution {view.execution_id} {view.status}{reason}")
        place = queue_words.place(view.queue)
        if place and place != self._place:
            self._place = place
            self._line(f"waiting, {queue_words.waiting(view.queue)}")

    def _line(self, text: str) -> None:
        passed = time.monotonic() - self._begun
        self._console.print(f"{passed:7.2f} s  {text}", markup=False, highlight=False, soft_wrap=True)


class LiveDisplay(Display):
    """A table of the nodes and the text that is being written, drawn anew a few times a second."""

    def __init__(self, console: Console) -> None:
        self._view: RunView | None = None
        self._live = Live(console=console, refresh_per_second=FRAMES_A_SECOND, get_renderable=self._render)
        self._begun = time.monotonic()
        self._started: dict[str, float] = {}
        self._ended: dict[str, float] = {}

    def __enter__(self) -> Self:
        try:
            self._live.start()
        except BaseException:
            self._live.stop()  # an interruption may come after the cursor was hidden
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, view: RunView, changed: list[NodeView]) -> None:
        self._view = view
        for node in changed:
            times = self._started if node.status == "running" else self._ended
            times[node.id] = time.monotonic()

    def _render(self) -> RenderableType:
        return "" if self._view is None else self._frame(self._view)

    def _frame(self, view: RunView) -> RenderableType:
        title = Text(self._title(view), "italic", no_wrap=True, overflow="ellipsis")
        if view.writing is None or view.ended:
            return Group(title, self._table(view))
        node = view.nodes[view.writing]
        width = max(20, self._live.console.width - 4)
        wrapped = Text(node.text[-width * TEXT_LINES :]).wrap(self._live.console, width)
        text = Text("\n").join(wrapped[-TEXT_LINES:])
        panel = Panel(text, title=node.id, title_align="left", border_style="dim")
        return Group(title, self._table(view), panel)

    def _table(self, view: RunView) -> Table:
        table = Table(box=None, pad_edge=False)
        for name in ("node", "state", "model"):
            table.add_column(name, no_wrap=True)
        for name in ("tokens", "time"):
            table.add_column(name, justify="right", no_wrap=True)
        for node in view.in_order():
            style, state = _MARKS.get(node.status, ("dim", render.node_state(node.status, ended=view.ended)))
            tokens = str(node.tokens) if node.tokens else ""
            if node.waiting:
                style, state = "yellow", node.waiting
            table.add_row(node.id, Text(state, style), node.model or "", tokens, self._time_of(node))
        return table

    def _title(self, view: RunView) -> str:
        passed = time.monotonic() - self._begun
        waiting = f"; {queue_words.waiting(view.queue)}" if view.queue else ""
        return f"{view.engine or view.execution_id}: {view.status}, {passed:.1f} s{waiting}"

    def _time_of(self, node: NodeView) -> str:
        begun = self._started.get(node.id)
        if begun is None:
            return ""
        return f"{self._ended.get(node.id, time.monotonic()) - begun:.1f} s"
