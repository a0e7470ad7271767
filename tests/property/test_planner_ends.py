"""What validation accepts, the planner brings to an end, however often its executor is lost; no completed node runs
again, a branch takes one way, and a repeat makes its rounds in order.

`LEKHIKA_DEFINITIONS` is how many definitions are tried, for docs/engines.md in slices with `--hypothesis-seed`.
"""

import os
from random import Random
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from shared.validation import InvalidDefinition, Problem, check_input, validate_engine
from tests.support.make import MODEL
from tests.support.pure_run import PureRun
from tests.support.random_definitions import GIVEN, broken_definition, good_definition

DEFINITIONS = int(os.environ.get("LEKHIKA_DEFINITIONS", "300"))
RANDOM = st.randoms(use_true_random=False)
LOSSES = st.frozensets(st.integers(1, 40), max_size=5)


def run(definition: dict[str, Any], rng: Random, losses: frozenset[int]) -> str:
    """How it ended."""
    engine = validate_engine(definition, {MODEL})
    values, faults = check_input(engine.inputs, GIVEN)
    if faults:
        return "refused input"
    here = PureRun(engine.workflow(), values, rng, losses)
    last = here.to_its_end()
    here.check()
    if last is None:
        return "limit"
    if last.error is not None:
        assert last.error.code == "template_error"
        return last.error.code
    assert here.state is not None
    assert all(here.state.completed(node.id) for node in engine.nodes)
    return "completed"


@settings(max_examples=max(1, DEFINITIONS // 2))
@given(RANDOM, LOSSES)
def test_a_good_definition_is_accepted_and_comes_to_its_end(rng: Random, losses: frozenset[int]) -> None:
    assert run(good_definition(rng), rng, losses) in ("completed", "limit")


@settings(max_examples=max(1, DEFINITIONS // 2))
@given(RANDOM, LOSSES)
def test_a_broken_definition_is_refused_with_its_problems_or_comes_to_an_end(
    rng: Random, losses: frozenset[int]
) -> None:
    definition = broken_definition(rng)
    problems = problems_of(definition)
    event("refused" if problems else run(definition, rng, losses))
    assert all(problem.field and problem.detail for problem in problems)


def problems_of(definition: dict[str, Any]) -> tuple[Problem, ...]:
    try:
        validate_engine(definition, {MODEL})
    except InvalidDefinition as refused:
        return refused.problems
    return ()
