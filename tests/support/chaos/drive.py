"""One run of the chaos test from its plan to its proof."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.chaos import leaks
from tests.support.chaos.call_checks import call_faults
from tests.support.chaos.evidence import Evidence, gather, query
from tests.support.chaos.log_checks import (
    failure_faults,
    log_faults,
    request_faults,
    row_faults,
    stop_faults,
    story,
)
from tests.support.chaos.people import People
from tests.support.chaos.plan import Plan
from tests.support.chaos.recorder import Recorder
from tests.support.chaos.report import table, takeovers
from tests.support.chaos.site import Site, site
from tests.support.chaos.troubles import Troublemaker
from tests.support.chaos.usage_checks import ledger_faults, rollup_faults, usage_faults
from tests.support.waiting import until

ENDING_SECONDS = 180.0
"""How long after the last trouble everything may take to end: longer than evidence and all retries need."""
SETTLING_SECONDS = 100.0
"""Longer than analytics' `ack_wait`: what a killed one had taken is delivered again only then."""


@dataclass
class Report:
    faults: list[str] = field(default_factory=list)
    text: str = ""


@dataclass
class Run:
    """What the steps of a run share."""

    plan: Plan
    site: Site
    recorder: Recorder
    people: People
    troubles: Troublemaker
    report: Report = field(default_factory=Report)
    figures: dict[str, Any] = field(default_factory=dict)
    late_calls: list[float] = field(default_factory=list)

    def fault(self, *faults: str) -> None:
        self.report.faults.extend(faults)


async def drive(plan: Plan, folder: Path) -> Report:
    async with site(folder, plan.first) as here:
        recorder = Recorder(here.nc)
        recorder.start()
        troubles = Troublemaker(here, recorder)
        people = People(here, plan, lambda: troubles.done.total() / max(1, len(plan.troubles)))
        run = Run(plan, here, recorder, people, troubles)
        try:
            await _trouble(run)
            await _end(run)
            evidence = await _settle(run)
            _prove(run, evidence)
            await _clear(run)
            run.report.text = _table(run, evidence)
        finally:
            await troubles.give_up()
            await recorder.close()
        return run.report


async def _trouble(run: Run) -> None:
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(run.people.run())
        group.create_task(run.troubles.run(run.plan.troubles))
    run.figures["seconds of trouble"] = round(time.monotonic() - began)


async def _end(run: Run) -> None:
    """Heals everything and waits until all executions have ended."""
    began = time.monotonic()
    await run.troubles.heal()
    for member in run.site.fleet.members.values():
        await member.ready()
    accepted = {asked.execution_id for asked in run.people.asked.values() if asked.ids}

    def all_ended() -> bool:
        return accepted <= run.recorder.states.keys() and not run.recorder.open()

    if not await run.recorder.until(all_ended, ENDING_SECONDS):
        lost = accepted - run.recorder.states.keys()
        run.fault(*(f"{key}: accepted and not in the log" for key in lost))
        for key in run.recorder.open():
            run.fault(f"{key}: has not ended ({story(run.recorder.histories[key])})")
    run.figures["seconds until all had ended"] = round(time.monotonic() - began, 1)
    await run.people.repeat_everything()


async def _settle(run: Run) -> Evidence:
    """Waits until readers and sockets have caught up; then nobody prunes any more."""
    here, began = run.site, time.monotonic()
    await _soon(run, "requests or ends are not acknowledged", lambda: leaks.unsettled(here))
    run.figures["seconds until all was counted"] = round(time.monotonic() - began, 1)
    await _soon(run, "calls are still open at the stand-in", lambda: leaks.open_calls(here))
    for member in here.fleet.of("janitor"):
        await member.close()

    async def behind() -> int:
        (row,) = query(here, "SELECT seq FROM projector_positions")
        return run.recorder.position - int(row["seq"])

    await _soon(run, "the read model is behind", behind)
    run.fault(*await leaks.consumer_faults(here))
    found = await leaks.orphans(here, run.recorder.histories)
    run.figures["artifacts that no event names"] = {end: len(names) for end, names in found.items()} or 0
    run.figures["artifacts in all"] = len(await leaks.artifact_names(here))
    run.figures["parts of artifacts that were never finished"] = await leaks.stray_chunks(here)
    return await gather(here, run.recorder, run.people.asked)


async def _soon(run: Run, what: str, ask: Callable[[], Awaitable[Any]]) -> None:
    """A fault, unless the answer becomes nothing in time."""
    left: Any = None

    async def nothing_left() -> bool:
        nonlocal left
        left = await ask()
        return not left

    try:
        await until(nothing_left, SETTLING_SECONDS, 0.2)
    except TimeoutError:
        run.fault(f"{what}: {left}")


def _prove(run: Run, evidence: Evidence) -> None:
    run.fault(*run.people.wrong, *run.troubles.wrong)
    run.fault(*log_faults(evidence), *request_faults(evidence), *stop_faults(evidence))
    run.fault(*failure_faults(evidence))
    run.fault(*row_faults(evidence), *ledger_faults(evidence), *rollup_faults(run.site))
    if not run.report.faults:  # what has not ended can not be compared
        run.fault(*call_faults(evidence, run.late_calls), *usage_faults(evidence))


async def _clear(run: Run) -> None:
    """The janitors come back and prune everything; then the services end, and nothing is left."""
    here = run.site
    for member in here.fleet.of("janitor"):
        member.reopen(LEKHIKA_RETENTION_HOURS="0.0001")

    def all_pruned() -> bool:
        return not any(leaks.left_in_log(run.recorder.histories))

    if not await run.recorder.until(all_pruned, SETTLING_SECONDS):
        run.fault(*leaks.left_in_log(run.recorder.histories))
    await _soon(run, "rows of what was pruned", _later(lambda: query(here, "SELECT id FROM executions")))
    run.figures["artifacts left when all was pruned"] = len(await leaks.artifact_names(here))
    if left := await leaks.left_after_sweeps(here):
        run.fault(f"{left} messages are left in the bucket of artifacts after a sweep")
    late = await here.fleet.close()
    run.fault(*(f"{name} did not end when asked" for name in late))
    await _soon(run, "sessions in the database", _later(lambda: leaks.sessions(here)))
    await _soon(run, "orphan processes", _later(lambda: leaks.processes(here)))


def _later(what: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
    async def ask() -> Any:
        return what()

    return ask


def _table(run: Run, evidence: Evidence) -> str:
    fleet = run.site.fleet
    at_points = Counter(
        life.kill_at.partition(":")[0] for life in fleet.lives() if life.killed and not life.asked
    )
    found = takeovers(evidence)
    figures = {
        "executions in the log": len(evidence.histories),
        "ends": dict(Counter(state.status.value for state in evidence.states.values())),
        "attempts": dict(sorted(Counter(state.attempt for state in evidence.states.values()).items())),
        "processes killed (-9)": fleet.count(lambda life: life.killed),
        "of them at a point of their own": dict(at_points),
        "servers killed (-9)": {name: len(times) for name, times in run.site.outages.items()},
        "other troubles": dict(run.troubles.done),
        "answers to people": dict(run.people.answers),
        "model calls": sum(len(calls) for calls in evidence.calls.values()),
        **run.figures,
    }
    if calm := sorted((one for one in found if one.calm), key=lambda one: one.seconds):
        figures["the slowest of a judge left in peace"] = story(evidence.histories[calm[-1].execution_id])
    times = {
        "takeover after kill -9, a judge left in peace": [one.seconds for one in found if one.calm],
        "takeover after kill -9, all": [one.seconds for one in found],
        "calls begun after the end (in flight)": run.late_calls,
    }
    return table(f"chaos, seed {run.plan.settings.seed}", figures, times)
