"""`python -m services.janitor --dry-run`: what a round and a sweep would do now, and why. Touches nothing."""

import json
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

from services.janitor.app import connected
from services.janitor.facts import Facts, gather
from services.janitor.policy import Action
from services.janitor.prune import Pruner
from services.janitor.reap import Reaper
from services.janitor.settings import JanitorSettings
from services.janitor.sweep import Sweeper

LABELS = {Action.NOTHING: "leave", Action.PRUNE: "prune"}
"""The others are named by the event that would be appended."""


async def report(settings: JanitorSettings, *, as_json: bool) -> None:
    """Prints a line for each execution that is past its time, or open and in doubt, and for what a sweep would delete.

    Raises: Unavailable; Permanent, when the topology is not there.
    """
    async with connected(settings) as parts:
        pruner = Pruner(parts, may_act=lambda: False)
        reaper = Reaper(parts, may_act=lambda: False, unbroken_since=lambda: None)
        facts = await gather(parts.nc, parts.db)
        async for line in _lines(facts, pruner, reaper):
            _write(line, line["execution_id"], as_json=as_json)
        sweeper = Sweeper(parts, may_act=lambda: False)
        async for found in sweeper.judge(facts.marks.now):
            line = {found.kind.value: found.name, "action": "delete", "reason": found.reason}
            _write(line, found.name, as_json=as_json)
        if not as_json:
            marks = facts.marks
            reached = f"counted up to {marks.counted}, projected up to {marks.projected}"
            sys.stderr.write(f"{reached}, {len(facts.fleet)} instances live\n")


def _write(line: Mapping[str, Any], name: str, *, as_json: bool) -> None:
    text = f"{line['action']:<15} {name}  {line['reason']}"
    sys.stdout.write((json.dumps(line) if as_json else text) + "\n")


async def _lines(facts: Facts, pruner: Pruner, reaper: Reaper) -> AsyncIterator[dict[str, Any]]:
    async for judged in pruner.judge(facts, everything=True):
        action = judged.decision.action
        yield {"execution_id": judged.id, "action": LABELS[action], "reason": judged.decision.reason}
    async for doubt in reaper.judge(facts):
        action, reason = doubt.decision.action, doubt.decision.reason
        if action is not Action.NOTHING:
            reason += "; if a second look finds the same"
        yield {"execution_id": doubt.id, "action": LABELS.get(action, action.value), "reason": reason}
