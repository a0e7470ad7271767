"""What a person sees of a start: what is waited for, and where to look when it failed."""

import asyncio
import io
import sys
import tempfile
from pathlib import Path

import pytest
from rich.console import Console

from deploy.local import demo, reporter
from deploy.local.processes import StackError
from deploy.local.reporter import Reporter

ERASE = "\r\x1b[2K"
FAILS = "import sys, pathlib; pathlib.Path(sys.argv[3], 'said').touch(); sys.exit(1)"
STARTS = "import signal; print('ready', flush=True); signal.pause()"


def a_terminal(width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, color_system=None, width=width)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_on_a_terminal_the_last_line_says_what_is_waited_for_and_goes_when_it_is_there() -> None:
    console = a_terminal()
    told = Reporter(console)
    with told.step("PostgreSQL"), told.step("NATS server"):
        assert written(console).endswith(f"{ERASE}..   0 s, waiting for PostgreSQL, NATS server")
    after = written(console).rpartition("waiting for PostgreSQL")[2]
    assert after.startswith(f"{ERASE}ok PostgreSQL")
    assert "waiting" not in after


def test_the_line_is_never_longer_than_the_terminal() -> None:
    console = a_terminal(width=30)
    with Reporter(console).step("a part with a name of some length"):
        assert len(written(console)) < 30


class Seen(Exception):
    """Ends a wait by the line that was waited for."""


class Listening(io.StringIO):
    def __init__(self, wanted: str) -> None:
        super().__init__()
        self._wanted = wanted

    def write(self, text: str) -> int:
        if self._wanted in text:
            raise Seen
        return super().write(text)


@pytest.mark.parametrize(
    ("terminal", "line"),
    [
        (True, f"0 s; {reporter.BUSY}, waiting for janitor"),
        (False, f"still waiting for janitor; {reporter.BUSY}"),
    ],
)
async def test_a_slow_start_is_told_to_be_slow(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, line: str
) -> None:
    told = Reporter(Console(file=Listening(line), force_terminal=terminal, color_system=None, width=100))
    monkeypatch.setattr(reporter, "TICK_SECONDS", 0.001)
    with pytest.RaisesGroup(Seen):
        async with told.ticking():
            with told.step("janitor"):
                monkeypatch.setattr(reporter, "SLOW_SECONDS", 0.0)
                await asyncio.Event().wait()


def test_a_demo_that_does_not_start_keeps_its_home_and_says_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: str(tmp_path))
    monkeypatch.setattr(demo, "python_module", lambda *words: [sys.executable, "-c", FAILS, *words[1:]])
    with pytest.raises(StackError, match=str(tmp_path)), demo.own_stack():
        pass
    assert (tmp_path / "said").exists()


def test_a_demo_that_has_started_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "python_module", lambda *_: [sys.executable, "-c", STARTS])
    with demo.own_stack() as home:
        assert home.path.exists()
    assert not home.path.exists()
