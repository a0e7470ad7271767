"""The gateway answers as its OpenAPI document says, whatever it is sent. The long run is `make fuzz`."""

from pathlib import Path

from tests.support.fuzzing import fuzz, fuzzed_gateway

QUICK = ("--phases", "examples,fuzzing,stateful", "--max-examples", "2", "--no-shrink")


async def test_no_answer_is_a_5xx_or_outside_of_the_document(tmp_path: Path) -> None:
    async with fuzzed_gateway(tmp_path) as here:
        code, report = await fuzz(here, tmp_path, *QUICK)
    assert code == 0, report
