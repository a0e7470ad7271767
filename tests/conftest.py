"""Fixtures that several folders of tests share."""

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.support.collector import Collector
from tests.support.stack import Stack, up

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")


ON_THE_STACK = (
    "tests/browser/",
    "tests/integration/test_data_subjects.py",
    "tests/integration/test_main_job.py",
    "tests/integration/test_samples.py",
    "tests/integration/test_trace.py",
)
"""With several processes all of these go to one of them, so that there is one stack."""


class _OneStack(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """The tests of a file go to one process, and so do all that use the stack."""

    def _split_scope(self, nodeid: str) -> str:
        return "stack" if nodeid.startswith(ON_THE_STACK) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _OneStack:
    return _OneStack(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those on the stack come first: they take the longest, and the others fit in beside them."""
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()) and "/faults/" not in item.nodeid:
            assert item.nodeid.startswith(ON_THE_STACK), (
                f"{item.nodeid} uses the stack and is not in ON_THE_STACK"
            )
    items.sort(key=lambda item: not item.nodeid.startswith(ON_THE_STACK))


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Stack]:
    """One stack for the whole session, with quick settings for the stand-in and the janitor."""
    quick = collector.environment | {
        "LEKHIKA_STANDIN_CHUNK_MS": "10",
        "LEKHIKA_JANITOR_INTERVAL_SECONDS": "2",
    }
    started = up(tmp_path_factory.mktemp("stack") / "home", **quick)
    yield started
    assert started.down() == 0
    assert " Violation " not in (started.home / "nats" / "nats.log").read_text(), (
        "a service was refused something"
    )


@pytest.fixture
def nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what runs in `bounded`: its timer may go off where an exception is only reported, as in a destructor. It goes
    off again right after.
    """
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
