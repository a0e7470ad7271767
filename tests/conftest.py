"""Fixtures that several folders of tests share."""

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.collector import Collector
from tests.support.stack import Stack, up

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes: the tests of a file go to one of them, and so do all that use the one stack.

    These come first: they take the longest, and the others fit in beside them.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group("stack" if _shared(item) else item.nodeid.partition("::")[0]))
    items.sort(key=lambda item: not _shared(item))


def _shared(item: pytest.Item) -> bool:
    return "stack" in getattr(item, "fixturenames", ())


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
