"""The full set of phases against every route: no 5xx, and no answer that the document does not describe."""

import os
from pathlib import Path

from tests.support.fuzzing import fuzz, fuzzed_gateway

PHASES = "examples,coverage,fuzzing,stateful"
EXAMPLES = os.environ.get("LEKHIKA_FUZZ_EXAMPLES", "50")
"""Requests of each route in each phase, at most."""


async def test_no_answer_is_a_5xx_or_outside_of_the_document(tmp_path: Path) -> None:
    async with fuzzed_gateway(tmp_path) as here:
        code, report = await fuzz(here, tmp_path, "--phases", PHASES, "--max-examples", EXAMPLES)
    assert code == 0, report
