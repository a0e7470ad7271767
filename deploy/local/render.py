"""Turns what the gateway answers into text for people."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.local import queue_words

_STYLES = {
    "completed": "green",
    "running": "yellow",
    "stopping": "magenta",
    "stopped": "magenta",
    "failed": "red",
}
_FLEXIBLE = frozenset({"engine", "name", "description", "model"})
_STATE_STYLES = {
    "ready": "green",
    "starting": "yellow",
    "draining": "magenta",
    "paused": "magenta",
    "gone": "dim",
}
WIDTH_OF_A_FILE = 400


def console() -> Console:
    """Where there is no terminal nothing has to fit, and nothing is cut."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Iterable[str] = ()) -> Table:
    result = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # When the terminal is narrow, only texts of free length give way.
        flexible = column in _FLEXIBLE
        result.add_column(column, justify="right" if column in set(right) else "left", no_wrap=not flexible)
    for row in rows:
        result.add_row(*(cell if isinstance(cell, Text) else str(cell) for cell in row))
    return result


def status(name: str) -> Text:
    return Text(name, _STYLES.get(name) or _STATE_STYLES.get(name) or "")


def node_state(name: str, *, ended: bool) -> str:
    """The status of a node; once its execution has ended, nothing is pending any more."""
    return "not reached" if ended and name == "pending" else name


def status_and_place(content: Mapping[str, Any]) -> Text:
    """The status of an execution in a list; of a queued one with its place."""
    place = queue_words.place(content.get("queue"))
    return Text.assemble(status(content["status"]), (f" {place}" if place else "", "dim"))


def moment(text: str | None, zone: str | None = None) -> str:
    """A time as the clock of that zone, or the person's own, shows it; nothing for none."""
    clock = ZoneInfo(zone) if zone else None
    return datetime.fromisoformat(text).astimezone(clock).strftime("%Y-%m-%d %H:%M:%S") if text else ""


def bucket(text: str, by: str) -> str:
    """The start of an hour or a day on the clock of the zone that the answer was asked for."""
    return datetime.fromisoformat(text).strftime("%Y-%m-%d" if by == "day" else "%Y-%m-%d %H:%M")


def seconds_between(begin: str | None, end: str | None) -> str:
    if not begin or not end:
        return ""
    passed = datetime.fromisoformat(end) - datetime.fromisoformat(begin)
    return f"{passed.total_seconds():.1f} s"


def milliseconds_between(begin: str | None, end: str | None) -> str:
    if not begin or not end:
        return "?"
    passed = datetime.fromisoformat(end) - datetime.fromisoformat(begin)
    return f"{passed.total_seconds() * 1000:.1f} ms"


def tokens(counts: Mapping[str, Any] | None) -> str:
    """The total, in words when it was not measured; `-` when nothing of it is known."""
    if not counts:
        return ""
    total = counts.get("total") or 0
    return _trusted(counts, total, f"{total:,}")


def engine_labels(engines: Sequence[tuple[str, str]]) -> list[str]:
    """Of engines by id and name: each one's name, with its id where another has the same name."""
    ids = Counter(name for _, name in set(engines))
    return [f"{name} ({engine_id})" if ids[name] > 1 else name for engine_id, name in engines]


def mean_tokens(insight: Mapping[str, Any]) -> str:
    """Of one run of an engine, in the words of `tokens`."""
    return _trusted(insight, insight["mean_tokens"], f"{insight['mean_tokens']:,.1f}")


def _trusted(content: Mapping[str, Any], figure: float, text: str) -> str:
    certainty = content.get("certainty")
    if certainty == "unknown" and not figure:
        return "-"
    words = {"estimated": "about ", "unknown": "at least "}.get(str(certainty), "")
    return f"{words}{text}"


def tokens_in_full(counts: Mapping[str, Any]) -> str:
    if tokens(counts) in {"", "-"}:
        return "- (not known)"
    kinds = ", ".join(
        f"{kind} {counts[kind]:,}"
        for kind in ("input", "cached", "output", "thoughts", "tool")
        if kind in counts
    )
    return f"{tokens(counts)} ({kinds}; {counts.get('certainty', 'unknown')})"


def megabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1_000_000:.0f} MB"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def execution(content: Mapping[str, Any], me: str | None) -> Iterable[str | Table | Text]:
    """One execution, as `show` prints it to the user with the id `me`."""
    yield Text.assemble(f"{content['id']}  ", status(content["status"]))
    engine = content.get("engine") or {}
    yield f"engine   {engine.get('name')} ({engine.get('id')}, version {engine.get('version')})"
    yield f"created  {moment(content.get('created_at'))}"
    if content.get("started_at"):
        took = seconds_between(content.get("started_at"), content.get("ended_at"))
        yield f"started  {moment(content['started_at'])}" + (f", took {took}" if took else "")
    if content.get("queue"):
        yield f"queue    {queue_words.waiting(content['queue'])}"
    yield f"tokens   {tokens_in_full(content.get('tokens') or {})}"
    yield from _ending(content, me)
    nodes = content.get("nodes") or []
    if nodes:
        rows = [
            (
                n["id"],
                n.get("kind"),
                status(node_state(n["status"], ended=bool(content.get("ended_at")))),
                n.get("model") or "",
                tokens(n.get("tokens")),
                n.get("attempts", ""),
            )
            for n in nodes
        ]
        yield table(
            ("node", "kind", "status", "model", "tokens", "attempts"), rows, right=("tokens", "attempts")
        )


def _ending(content: Mapping[str, Any], me: str | None) -> Iterable[str]:
    error = content.get("error")
    if error:
        where = f" in {error['node']}" if error.get("node") else ""
        yield f"error    {error.get('code')}{where}: {error.get('message')}"
    if content.get("stop"):
        yield f"stop     {asked(content['stop'], me)}"
        yield f"         {stop_times(content)}"


def asked(stop: Mapping[str, Any], me: str | None) -> str:
    """Who asked for a stop, told to the user with the id `me`."""
    reason = f" ({stop['reason']})" if stop.get("reason") else ""
    by = "you" if stop.get("by") == me else stop.get("by")
    return f"asked by {by} at {moment(stop.get('at'))}{reason}"


def stop_times(content: Mapping[str, Any]) -> str:
    """How long a stopped execution took from the wish to the closed socket, as far as there was anybody to hear."""
    stop, ended = content["stop"], content.get("ended_at")
    if not content.get("started_at"):
        return "it had not begun: no model was called"
    heard, closed = stop.get("heard_at"), stop.get("closed_at")
    if not heard:
        told = "no executor confirmed it" if ended else "not heard yet"
    else:
        told = f"heard after {milliseconds_between(stop.get('at'), heard)}"
    if closed:
        return f"{told}, socket closed after {milliseconds_between(stop.get('at'), closed)}"
    return told + (f", ended after {milliseconds_between(stop.get('at'), ended)}" if ended else "")


def own_time_zone() -> str:
    """The name of this machine's time zone; UTC when it has none."""
    named = os.environ.get("TZ", "").lstrip(":")
    if "/" in named or named == "UTC":
        return named
    target = str(Path("/etc/localtime").resolve())
    return target.partition("zoneinfo/")[2] or "UTC"
