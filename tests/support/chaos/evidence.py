"""What is known after a run: the log, the stand-in's ledger, the database, and which process lived when."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from shared import events as ev
from shared.execution import ExecutionState
from tests.support.chaos.fleet import Life
from tests.support.chaos.people import Asked
from tests.support.chaos.recorder import Recorder
from tests.support.chaos.site import Site

TOKENS = ("input", "cached", "output", "thoughts", "tool")
_PROMPT = re.compile(r"\[request=(\S+) node=(\S+)\]")

Counts = tuple[int, ...]
"""Tokens in the order of TOKENS."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call as the stand-in saw it. `begun` is a Unix time."""

    node: str
    begun: float
    tokens: Counts


@dataclass(frozen=True)
class Evidence:
    """`calls` by mark, `marks` by execution id, `lives` by instance id."""

    histories: Mapping[str, Sequence[ev.Recorded]]
    states: Mapping[str, ExecutionState]
    marks: Mapping[str, str]
    calls: Mapping[str, Sequence[Call]]
    asked: Mapping[str, Asked] = field(default_factory=dict)
    lives: Mapping[str, Life] = field(default_factory=dict)
    held: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    """By member, when it was cut off from NATS."""
    outages: Sequence[tuple[float, float]] = ()
    """Of NATS."""
    ledger: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def calls_of(self, execution_id: str) -> Sequence[Call]:
        return self.calls.get(self.marks[execution_id], ())


def unix(time: datetime) -> float:
    return time.astimezone(UTC).timestamp()


def mark_of(history: Sequence[ev.Recorded]) -> str:
    first = history[0].event
    assert isinstance(first, ev.ExecutionRequested)
    assert isinstance(first.body, ev.RequestBody)
    return str(first.body.input["mark"])


def calls_of_ledger(items: Iterable[Mapping[str, Any]]) -> dict[str, list[Call]]:
    """The stand-in's ledger, by the mark in each prompt."""
    found: dict[str, list[Call]] = defaultdict(list)
    for item in items:
        named = _PROMPT.search(item["prompt"])
        if named is None:
            continue
        tokens = item["tokens"] or {}
        call = Call(
            node=named[2],
            begun=item["received_ns"] / 1e9,
            tokens=tuple(tokens.get(kind, 0) for kind in TOKENS),
        )
        found[named[1]].append(call)
    return found


def query(site: Site, text: str) -> list[dict[str, Any]]:
    """As the superuser."""
    with psycopg.connect(site.postgres.url, row_factory=dict_row) as connection:
        return connection.execute(text).fetchall()


async def gather(site: Site, recorder: Recorder, asked: Mapping[str, Asked]) -> Evidence:
    ledger: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for line in query(site, "SELECT * FROM usage_ledger ORDER BY execution_id, line"):
        ledger[str(line["execution_id"])].append(line)
    nats = {name: link for name, link in site.links.items() if name.endswith("/nats")}
    return Evidence(
        histories=recorder.histories,
        states={key: state for key, state in recorder.states.items() if state is not None},
        asked=asked,
        marks={key: mark_of(history) for key, history in recorder.histories.items()},
        calls=calls_of_ledger((await site.ask_standin("/admin/ledger", limit=1_000_000))["items"]),
        lives={life.instance: life for life in site.fleet.lives() if life.instance},
        held={name.partition("/")[0]: link.held for name, link in nats.items()},
        outages=site.outages["nats"],
        ledger=ledger,
        rows={str(row["id"]): row for row in query(site, "SELECT * FROM executions")},
    )
