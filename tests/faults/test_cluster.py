"""Three NATS servers whose leader is killed while executions run, are started, and are stopped."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.errors import Unavailable
from shared.execution import Status
from shared.ids import new_id
from shared.log import ExecutionLog
from tests.support.chaos.call_checks import call_faults
from tests.support.chaos.engines import ENGINES
from tests.support.chaos.evidence import Evidence, calls_of_ledger
from tests.support.chaos.log_checks import log_faults
from tests.support.chaos.plan import Settings
from tests.support.chaos.report import table
from tests.support.chaos.usage_checks import usage_faults
from tests.support.cluster import Cluster, cluster_world
from tests.support.make import folded
from tests.support.waiting import until
from tests.support.world import World

ROUNDS = 3
FOR_EACH_ROUND = 20
STOPPED_IN_EACH = 5
ENDING_SECONDS = 120.0


@pytest.fixture
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[World, Cluster]]:
    async with cluster_world(tmp_path_factory.mktemp("cluster")) as made:
        yield made


def workflow(engine: str) -> dict[str, Any]:
    return {key: ENGINES[engine][key] for key in ("inputs", "nodes", "output")}


async def begin(here: World, rng: random.Random, marks: dict[str, str]) -> str:
    mark = f"cluster-{new_id()}"
    options = f"chunk_ms={rng.choice([20, 60, 120])} chunks={rng.randint(5, 40)}"
    engine = rng.choice(["chain", "fan", "single"])
    key = await here.request(workflow(engine), input={"mark": mark, "options": options})
    marks[key] = mark
    return key


async def asked_to_stop(here: World, key: str) -> bool:
    """False when nobody answered, which the gateway tells its caller as 503."""
    with contextlib.suppress(Unavailable):
        await here.stop(key)
        return True
    return False


async def stop_in_time(here: World, key: str) -> float:
    """Asks for a stop, whatever the cluster does; gives the seconds from its storage to the end."""
    await until(lambda: asked_to_stop(here, key))
    asked = next(r for r in await here.history(key) if r.event.type == "stop_requested")
    await until(lambda: all_ended(here, [key]), ENDING_SECONDS, 0.1)
    state = await here.state(key)
    assert state.status is Status.STOPPED
    assert state.ended_at is not None
    return (state.ended_at - asked.time).total_seconds()


async def test_the_leader_is_killed_and_nothing_is_lost_and_stops_are_obeyed(
    both: tuple[World, Cluster],
) -> None:
    here, cluster = both
    seed = Settings.read().seed
    rng = random.Random(seed)
    print(f"\nLEKHIKA_CHAOS_SEED={seed}")
    for _ in range(3):
        here.executor()
    marks: dict[str, str] = {}
    stops: list[float] = []
    elections: list[float] = []
    for _ in range(ROUNDS):
        keys = [await begin(here, rng, marks) for _ in range(FOR_EACH_ROUND)]
        slow = []
        for _ in range(STOPPED_IN_EACH):
            mark = f"cluster-{new_id()}"
            options = "chunk_ms=100 chunks=2000"
            slow.append(await here.request(workflow("single"), input={"mark": mark, "options": options}))
            marks[slow[-1]] = mark
        for key in slow:
            await here.heard(key, "node_started")
        leader = cluster.servers[await cluster.leader(here.nc)]
        began = time.monotonic()
        leader.kill()
        stops += await asyncio.gather(*(stop_in_time(here, key) for key in slow))  # there is no leader now
        await cluster.leader(here.nc)
        elections.append(time.monotonic() - began)
        leader.begin()
        keys += [await begin(here, rng, marks) for _ in range(FOR_EACH_ROUND // 4)]
        await until(lambda: all_ended(here, keys), ENDING_SECONDS, 0.5)  # noqa: B023 - waited for here
    evidence = await gathered(here, marks)
    late: list[float] = []
    faults = [*log_faults(evidence), *call_faults(evidence, late), *usage_faults(evidence)]
    figures = {"executions": len(marks), "leaders killed (-9)": ROUNDS}
    times = {
        "until a leader was seen and stops were done": elections,
        "from the stored stop to the end": stops,
        "calls begun after the end (in flight)": late,
    }
    print(table(f"cluster of three, seed {seed}", figures, times))
    assert not faults, "\n".join([f"LEKHIKA_CHAOS_SEED={seed}", *faults[:20]])


async def all_ended(here: World, keys: list[str]) -> bool:
    with contextlib.suppress(Unavailable):
        return all([(await here.state(key)).ended for key in keys])
    return False


async def gathered(here: World, marks: dict[str, str]) -> Evidence:
    log = ExecutionLog(here.nc)
    histories = {key: await log.load(key) for key in marks}
    items = (await here.ask("/admin/ledger", limit=1_000_000))["items"]
    return Evidence(
        histories=histories,
        states={key: folded(history) for key, history in histories.items()},
        marks=marks,
        calls=calls_of_ledger(items),
    )


async def test_an_execution_goes_on_while_its_leader_is_away(both: tuple[World, Cluster]) -> None:
    """The executor's appends wait for the next leader; nobody takes the execution over meanwhile."""
    here, cluster = both
    here.executor()
    key = await here.request(workflow("chain"), input={"mark": new_id(), "options": "chunk_ms=50 chunks=100"})
    await here.heard(key, "node_completed", "first")
    cluster.servers[await cluster.leader(here.nc)].kill()
    await until(lambda: all_ended(here, [key]), ENDING_SECONDS, 0.5)
    state = await here.state(key)
    assert (state.status, state.attempt, state.anomalies) == (Status.COMPLETED, 1, ())
