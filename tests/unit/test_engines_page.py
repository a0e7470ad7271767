"""Every example of docs/engines.md is a valid engine, and the planner brings it to its end."""

from random import Random
from typing import Any

import pytest

from shared.validation import check_input, validate_engine
from tests.support.engines_page import EXAMPLES, GIVEN, MODELS
from tests.support.pure_run import PureRun


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example["id"]))
def test_an_example_is_valid_and_runs_to_its_end(example: dict[str, Any]) -> None:
    engine = validate_engine(example, MODELS)
    values, faults = check_input(engine.inputs, GIVEN[engine.id])
    assert faults == []
    here = PureRun(engine.workflow(), values, Random(1))
    last = here.to_its_end()
    here.check()
    assert last is not None
    assert (last.error, last.output) == (None, engine.output)


def test_the_examples_have_every_kind_of_node() -> None:
    kinds = {node["kind"] for example in EXAMPLES for node in example["nodes"]}
    assert kinds == {"generate", "template", "for_each", "branch", "repeat"}
