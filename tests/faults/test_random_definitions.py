"""Definitions drawn at random, on real executors: each execution completes, or fails with an error of its definition."""

import asyncio
import os
from collections import Counter
from pathlib import Path
from random import Random

from shared.execution import ExecutionState, Status
from shared.validation import InvalidDefinition, check_input, validate_engine
from shared.workflow import Engine
from tests.support.make import MODEL, requested
from tests.support.random_definitions import GIVEN, broken_definition, good_definition
from tests.support.world import World, world

COUNT = 300
SEED = int(os.environ.get("LEKHIKA_DEFINITIONS_SEED", "1"))
QUICK = "[[standin words=3 first_ms=0 chunk_ms=0]]"
AT_ONCE = 40


def accepted() -> list[Engine]:
    """Every third one was meant to be broken, and passed all the same."""
    rng = Random(SEED)
    found: list[Engine] = []
    while len(found) < COUNT:
        definition = broken_definition(rng, QUICK) if len(found) % 3 == 0 else good_definition(rng, QUICK)
        try:
            engine = validate_engine(definition, {MODEL})
        except InvalidDefinition:
            continue
        if not check_input(engine.inputs, GIVEN)[1]:
            found.append(engine)
    return found


async def run(here: World, engine: Engine) -> ExecutionState:
    values, _ = check_input(engine.inputs, GIVEN)
    definition = engine.workflow().model_dump(mode="json", by_alias=True, exclude_none=True)
    return await here.ended(await here.request(definition, body=requested(definition, input=values).body))


async def test_random_definitions_come_to_an_end_of_their_own(tmp_path: Path) -> None:
    print(f"\nLEKHIKA_DEFINITIONS_SEED={SEED}")
    turns = asyncio.Semaphore(AT_ONCE)
    async with world(tmp_path, apart=True) as here:
        here.executor()
        here.executor()

        async def one(engine: Engine) -> ExecutionState:
            async with turns:
                return await run(here, engine)

        states = await asyncio.gather(*(one(engine) for engine in accepted()))
    ends = Counter((state.status, state.error.code if state.error else None) for state in states)
    print(dict(ends))
    assert all(state.anomalies == () for state in states)
    assert ends.keys() <= {(Status.COMPLETED, None), (Status.FAILED, "template_error")}
    assert ends[Status.COMPLETED, None] > COUNT // 2
