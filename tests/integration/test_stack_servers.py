"""The two servers that everything rests on: started, crashed, started again on the same data."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import nats
import psutil
import psycopg
import pytest

from deploy.local.nats_server import NatsServer
from deploy.local.postgres import PostgresServer
from deploy.local.processes import StackError


async def _publish(url: str) -> int:
    connection = await nats.connect(url, allow_reconnect=False)
    try:
        stream = connection.jetstream()
        await stream.add_stream(name="KEPT", subjects=["kept"])
        return (await stream.publish("kept", b"x")).seq
    finally:
        await connection.close()


def test_nats_keeps_port_and_messages_over_a_crash(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    url = server.start()
    try:
        assert asyncio.run(_publish(url)) == 1
        server.kill()
        assert server.start() == url
        assert asyncio.run(_publish(url)) == 2
    finally:
        server.stop()


def test_nats_lets_nobody_in_without_its_password(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    server.start()
    try:
        # Not by the client, which leaves the refused connection to the garbage collection.
        with socket.create_connection(("127.0.0.1", server.ports.client), timeout=5) as stranger:
            stranger.sendall(b"CONNECT {}\r\nPING\r\n")
            answer = stranger.makefile("rb").read()
        assert b"Authorization Violation" in answer
    finally:
        server.stop()


def test_servers_do_not_see_the_secrets_of_their_starter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "secret-of-the-caller")
    for server in (NatsServer(tmp_path / "nats"), PostgresServer(tmp_path / "postgres")):
        found = server.launch().env
        assert "PATH" in found
        assert "secret-of-the-caller" not in found.values()


def test_a_second_nats_on_the_same_port_is_refused(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "one")
    server.start()
    try:
        with pytest.raises(StackError, match=str(server.ports.client)):
            NatsServer(tmp_path / "two", ports=server.ports).start()
    finally:
        server.stop()


@pytest.mark.fault
def test_postgres_keeps_port_and_rows_over_a_crash(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres")
    url = server.start()
    try:
        with psycopg.connect(url) as connection:
            connection.execute("create table kept as select 1 as one")
        server.kill()
        assert server.start() == url
        with psycopg.connect(url) as connection:
            assert connection.execute("select one from kept").fetchone() == (1,)
    finally:
        server.stop()


def test_postgres_lets_nobody_in_without_its_password(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres")
    server.start()
    try:
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url_for("postgres", "wrong"))
    finally:
        server.stop()


@pytest.mark.fault
def test_servers_end_with_a_starter_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from deploy.local.nats_server import NatsServer; from deploy.local.postgres import PostgresServer\n"
        "n, p = NatsServer(Path(sys.argv[1]) / 'n'), PostgresServer(Path(sys.argv[1]) / 'p')\n"
        "n.start(); p.start(); print(n.process.pid, p.process.pid, flush=True); time.sleep(60)"
    )
    if sys.platform != "linux":
        pytest.skip("the kernel ties children to their starter on Linux only")
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        servers = [psutil.Process(int(pid)) for pid in starter.stdout.readline().split()]
        os.kill(starter.pid, signal.SIGKILL)
    assert psutil.wait_procs(servers, timeout=10)[1] == []
