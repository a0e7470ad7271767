"""The home folder: its files, its lock, what it hands to clients."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deploy.local.client import find_access
from deploy.local.home import (
    Home,
    HomeInUse,
    HomeLock,
    Ports,
    StackSecrets,
    credentials_of,
    holder,
    write_private,
)
from deploy.local.leftovers import ProcessRecords
from deploy.local.processes import StackError, free_port, port_is_free
from deploy.nats.permissions import ACCESS


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def test_everything_secret_is_for_its_owner_only(home: Home) -> None:
    credentials_of(home)
    StackSecrets.of(home)
    assert home.path.stat().st_mode & 0o777 == 0o700
    for file in (home.credentials, home.secrets):
        assert file.stat().st_mode & 0o777 == 0o600


def test_first_users_and_passwords_are_kept_over_restarts(home: Home) -> None:
    users = credentials_of(home)
    assert credentials_of(home) == users
    assert StackSecrets.of(home) == StackSecrets.of(home)
    assert users["admin"]["email"] == "admin@localhost"
    assert users["user"]["api_key"].startswith("lk_")
    assert len(users["user"]["api_key"]) == 46


def test_a_home_of_an_earlier_release_gets_the_passwords_that_it_lacks(home: Home) -> None:
    write_private(home.secrets, {"nats": "one for all", "postgres": "kept", "roles": {"gateway": "kept too"}})
    secrets = StackSecrets.of(home)
    assert (secrets.postgres, secrets.roles["gateway"]) == ("kept", "kept too")
    assert set(secrets.nats) == set(ACCESS)
    assert len(set(secrets.nats.values())) == len(ACCESS)
    assert StackSecrets.of(home) == secrets


def test_a_home_in_use_is_refused_and_says_by_whom(home: Home) -> None:
    with HomeLock(home):
        with pytest.raises(HomeInUse, match=f"process {os.getpid()}.*lekhika down"):
            HomeLock(home).__enter__()
        held_by = holder(home)
    assert held_by is not None
    assert held_by.pid == os.getpid()
    assert holder(home) is None


def test_the_lock_of_a_killed_process_does_not_matter(home: Home) -> None:
    code = (
        "import sys, time; from pathlib import Path; from deploy.local.home import Home, HomeLock\n"
        "with HomeLock(Home(Path(sys.argv[1]))): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(home.path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(HomeInUse):
            HomeLock(home).__enter__()
        process.send_signal(signal.SIGKILL)
    with HomeLock(home):
        assert holder(home) is not None


def test_ports_are_kept_unless_somebody_has_taken_them(home: Home) -> None:
    port = Ports(home).choose("nats")
    assert Ports(home).choose("nats") == port
    with_socket = (
        f"import socket; s=socket.create_server(('127.0.0.1', {port})); print('up', flush=True); input()"
    )
    command = [sys.executable, "-c", with_socket]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as taker:
        assert taker.stdout is not None
        assert taker.stdout.readline() == b"up\n"
        assert not port_is_free(port)
        assert Ports(home).choose("nats") != port


def test_leftovers_are_ended_but_a_stranger_with_the_same_number_is_not(home: Home) -> None:
    with subprocess.Popen(["sleep", "60"]) as left, subprocess.Popen(["sleep", "60"]) as stranger:
        records = ProcessRecords(home.pids)
        records.add("left", left.pid)
        records.add("stranger", stranger.pid)
        content = json.loads(home.pids.read_text())
        content[1]["created"] -= 100
        write_private(home.pids, content)
        assert ProcessRecords(home.pids).end_leftovers() == ["left"]
        assert stranger.poll() is None
        assert not psutil.pid_exists(left.pid)
        stranger.kill()


def test_a_client_takes_the_environment_first() -> None:
    access = find_access(
        Home(Path("nowhere")), environment={"LEKHIKA_URL": "http://g/", "LEKHIKA_API_KEY": "lk_x"}
    )
    assert (access.url, access.api_key) == ("http://g", "lk_x")


def test_a_key_of_the_home_is_not_sent_elsewhere(home: Home) -> None:
    credentials_of(home)
    with pytest.raises(StackError, match="LEKHIKA_API_KEY"):
        find_access(home, environment={"LEKHIKA_URL": "http://elsewhere"})


def test_a_client_finds_the_running_stack_of_its_home(home: Home) -> None:
    users = credentials_of(home)
    write_private(home.stack, {"gateway_url": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(StackError, match="lekhika up"):
        find_access(home, environment={})
    with HomeLock(home):
        assert find_access(home, "admin", environment={}).api_key == users["admin"]["api_key"]
