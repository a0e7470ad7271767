"""The live view on a terminal, and every way out of it."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploy.local import up
from deploy.local.leftovers import ProcessRecords
from deploy.local.supervisor import Supervisor

HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"
BEGIN = b'id: 1\nevent: snapshot\ndata: {"status": "running", "nodes": [{"id": "outline", "status": "running"}]}\n\n'
PATIENT = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("listening", flush=True)
signal.pause()
"""


class Endless(BaseHTTPRequestHandler):
    """A stream of events that begins and does not end before its reader."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(BEGIN)
        self.rfile.read(1)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def gateway() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def read_until(terminal: int, *wanted: bytes) -> bytes:
    """To the end without `wanted`."""
    read = b""
    while not wanted or not all(one in read for one in wanted):
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the last writer has closed it
            piece = b""
        if not piece:
            break
        read += piece
    return read


def _as_in_a_terminal() -> None:
    """Whoever runs the tests in the background, or with nohup, has these ignored, and what they start too."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ([signal.SIGINT], 130),
        ([signal.SIGINT, signal.SIGINT], 130),
        ([signal.SIGTERM], 128 + signal.SIGTERM),
        ([signal.SIGHUP], 128 + signal.SIGHUP),
    ],
)
def test_every_way_out_of_the_live_view_shows_the_cursor_again_on_a_new_line(
    gateway: str, signals: list[signal.Signals], code: int
) -> None:
    terminal, other_end = pty.openpty()
    own = {"LEKHIKA_URL": gateway, "LEKHIKA_API_KEY": "lk_test", "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.local.cli", "watch", "019a"],
        stdout=other_end,
        stderr=other_end,
        env=os.environ | own,
        preexec_fn=_as_in_a_terminal,
    )
    os.close(other_end)
    begin = read_until(terminal, HIDE, b"outline")
    for number in signals:
        process.send_signal(number)
    shown = begin + read_until(terminal)
    os.close(terminal)
    assert process.wait(30) == code, shown
    assert shown.rfind(SHOW) > shown.rfind(HIDE) > -1
    assert shown[: shown.rfind(SHOW)].endswith(b"\r\n")
    assert b"Traceback" not in shown


def patient() -> subprocess.Popen[bytes]:
    """A program that has begun to listen for SIGTERM."""
    process = subprocess.Popen([sys.executable, "-c", PATIENT], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"listening\n"
    return process


async def test_what_is_attended_may_leave_the_terminal_by_itself(tmp_path: Path) -> None:
    supervisor = Supervisor(ProcessRecords(tmp_path / "pids.json"))
    supervisor.install()
    with patient() as process, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await supervisor.attend(process)
    supervisor.uninstall()
    assert process.returncode == 7


def test_the_sample_passes_over_the_ctrl_c_that_up_hears_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "import signal, sys; sys.exit(3 if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else 0)"
    monkeypatch.setattr(up, "python_module", lambda *_: [sys.executable, "-c", told])
    assert up._run_visibly([]).wait(30) == 3
