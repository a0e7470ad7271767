"""What a service answers about itself, over real sockets and in real processes."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from shared import conventions
from shared.errors import Permanent, Unavailable
from shared.health import Ready, health_server


@asynccontextmanager
async def client(ready: Ready) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        health_server(
            "127.0.0.1", 0, service="s", instance="i", ready=ready, status=lambda: {"slots": 4}
        ) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):
        yield http


@pytest.mark.asyncio
async def test_the_four_answers() -> None:
    conventions.LAG_EVENTS.labels("projection").set(3)
    async with client(lambda: (True, "all there")) as http:
        live, ready, metrics, status, other = [
            await http.get(path) for path in ("/livez", "/readyz", "/metrics", "/status", "/other")
        ]
    assert live.status_code == 200
    assert ready.json() == {"ready": True, "service": "s", "instance": "i", "detail": "all there"}
    assert 'lekhika_lag_events{reader="projection"}' in metrics.text
    assert "_created" not in metrics.text
    assert status.json() == {"slots": 4}
    assert other.status_code == 404


async def raises() -> tuple[bool, str]:
    raise Unavailable("the database is gone")


async def hangs() -> tuple[bool, str]:
    await asyncio.Event().wait()
    return True, ""


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("ready", "detail"),
    [
        (lambda: (False, "starting"), "starting"),
        (raises, "Unavailable: the database is gone"),
        (hangs, "the check took over 2 s"),
    ],
)
async def test_not_ready_says_why_and_stays_alive(ready: Ready, detail: str) -> None:
    async with client(ready) as http:
        answer = await http.get("/readyz")
        live = await http.get("/livez")
    assert (answer.status_code, live.status_code) == (503, 200)
    assert answer.json()["detail"] == detail


@pytest.mark.asyncio
async def test_a_taken_port_is_refused_with_its_number() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Permanent, match=str(port)):
            async with health_server("127.0.0.1", port, service="s", instance="i", ready=lambda: (True, "")):
                pass


@pytest.mark.asyncio
async def test_the_port_is_free_again_after_the_block() -> None:
    async with client(lambda: (True, "")) as http:
        port = http.base_url.port
        await http.get("/livez")
    assert port is not None
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


SERVICE = """
import sys
from shared import conventions
from shared.errors import Unavailable
from shared.service import run
from shared.settings import ServiceSettings

async def main(settings, stop, maker):
    print("up", file=sys.stderr, flush=True)
    {body}

run("probe", ServiceSettings, main)
"""
WAITS = "await stop.wait()"
IGNORES = "import asyncio; await asyncio.Event().wait()"


def start(body: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SERVICE.format(body=body)],
        env={"NATS_URL": "nats://u:topsecret@127.0.0.1:1", "PYTHONPATH": str(Path.cwd()), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def up(process: "subprocess.Popen[str]") -> None:
    assert process.stderr is not None
    assert process.stderr.readline() == "up\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_service_in_order(number: signal.Signals) -> None:
    with start(WAITS) as process:
        up(process)
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert '"message":"ended"' in out
    assert err == ""


def test_a_second_signal_ends_it_at_once() -> None:
    with start(IGNORES) as process:
        up(process)
        assert process.stdout is not None
        process.send_signal(signal.SIGTERM)
        while "SIGTERM: ending" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise Unavailable('nothing answers')", '"message":"nothing answers"'),
        ("raise ValueError('a bug')", "ValueError: a bug"),
        ("stop.fail('the connection is closed')", "ending: the connection is closed"),
    ],
)
def test_a_failure_is_told_and_gives_exit_code_1(body: str, told: str) -> None:
    with start(body) as process:
        out, _ = process.communicate(timeout=10)
    assert process.returncode == 1
    assert told in out
    assert ("Traceback" in out) == ("bug" in body)


def test_wrong_settings_are_named_without_their_values() -> None:
    with start(WAITS, LEKHIKA_HTTP_PORT="hunter2", LEKHIKA_LOG_LEVEL="loud", NATS_URL="") as process:
        _, err = process.communicate(timeout=10)
    assert process.returncode == 2
    assert "LEKHIKA_HTTP_PORT" in err
    assert "LEKHIKA_LOG_LEVEL" in err
    assert "NATS_URL" in err
    assert "hunter2" not in err
