"""The points at which the fault suite lets a process die."""

import subprocess
import sys

import pytest

from shared.fault_points import VARIABLE, Point, planned

PROGRAM = """
from shared.fault_points import Point, reach
for number in range(3):
    reach(Point.EXECUTOR_CLAIMED)
    reach(Point.EXECUTOR_ENDED)
    print(number, flush=True)
"""


def run(value: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={VARIABLE: value}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


def test_nothing_happens_without_the_variable_or_elsewhere() -> None:
    assert run("") == (0, "0\n1\n2\n")
    assert run(Point.ANALYTICS_COUNTED) == (0, "0\n1\n2\n")


def test_the_process_dies_at_the_named_point_and_pass() -> None:
    assert run("executor.claimed") == (-9, "")
    assert run("executor.ended:3") == (-9, "0\n1\n")


def test_a_name_that_is_none_is_refused_loudly() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        planned("nowhere")
