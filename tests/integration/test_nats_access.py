"""Which user of NATS may publish and hear what, at a real server: what is not in the table is refused, and said."""

import asyncio
import logging
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from deploy.local.nats_server import NatsServer, find_binary
from deploy.nats.__main__ import text
from deploy.nats.config import password_variable
from deploy.nats.permissions import ACCESS
from shared import topology
from shared.nats import connect, inbox_prefix
from shared.subjects import PROVIDER_MODELS

SERVICES = ("gateway", "executor", "analytics", "janitor")
FILE = Path(__file__).parents[2] / "deploy/nats/users.conf"


@dataclass
class User:
    """A connection, and what the server says of it: it logs each refusal before it answers what comes after."""

    nc: Client
    log: Path

    async def publishes(self, subject: str, reply: str = "") -> bool:
        before = self.refusals()
        await self.nc.publish(subject, b"{}", reply)
        await self.settled()
        return self.refusals() == before

    async def hears(self, subject: str) -> bool:
        before = self.refusals()
        subscription = await self.nc.subscribe(subject)
        await self.settled()
        await subscription.unsubscribe()
        return self.refusals() == before

    async def settled(self) -> None:
        await self.nc.flush()  # the client puts this ping before what waits to be sent
        await self.nc.flush()

    def refusals(self) -> int:
        return self.log.read_text().count(" Violation ")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    running = NatsServer(tmp_path_factory.mktemp("nats"))
    running.start()
    yield running
    running.stop()


@asynccontextmanager
async def logged_in(server: NatsServer, name: str) -> AsyncIterator[User]:
    nc = await nats.connect(server.url_for(name), inbox_prefix=inbox_prefix(name), error_cb=_expected)
    yield User(nc, server.log)
    await nc.close()


@pytest.fixture(autouse=True)
async def made_by_its_own_user(server: NatsServer) -> None:
    """The topology step is allowed all that it does, also when it does it again."""
    async with logged_in(server, "topology") as user:
        before = user.refusals()
        await topology.ensure(user.nc, topology.TopologySettings(NATS_URL=server.url))
        assert user.refusals() == before


def concrete(subject: str) -> str:
    return subject.replace("*", "x").replace(">", "x.y")


@pytest.mark.parametrize("name", [*SERVICES, "topology"])
async def test_what_the_table_allows_is_allowed(server: NatsServer, name: str) -> None:
    access = ACCESS[name]
    assert access.publish
    assert access.subscribe
    async with logged_in(server, name) as user:
        answers = await user.nc.subscribe(f"{inbox_prefix(name)}.test")
        for subject in map(concrete, access.publish):
            assert await user.publishes(subject, answers.subject), subject
        for subject in access.subscribe:
            assert await user.hears(subject), subject


EVENTS = {
    "requested.now.u": {"gateway"},
    "requeued.now.u": {"gateway", "janitor"},
    "stop_requested": {"gateway", "janitor"},
    "started": {"executor"},
    "node_started": {"executor"},
    "node_completed": {"executor"},
    "released": {"executor"},
    "completed": {"executor"},
    "stopped": {"gateway", "executor", "janitor"},
    "failed": {"executor", "janitor"},
    "pruned": {"janitor"},
    "anything": set(),
}
"""Who may append what to the log."""
OTHERS = {
    "committed.executions.e.completed": set(),
    "deltas.e": {"executor"},
    "logs.gateway.i": {"gateway"},
    "logs.executor.i": {"executor"},
    "$KV.workers.executor.i": {"executor"},
    "$KV.workers.janitor.i": {"janitor"},
    "$KV.workers.i": set(),
    "$KV.limits.m": {"executor"},
    "$KV.leaders.janitor": {"janitor"},
    "$KV.idempotency.u.k": {"gateway"},
    "$O.artifacts.M.n": {"gateway", "executor", "janitor"},
    "changed.keys": {"gateway"},
    "providers.models": {"gateway"},
    "_INBOX_gateway.a.b": set(),
    "_INBOX.a.b": set(),
    "$JS.API.CONSUMER.MSG.NEXT.EXECUTIONS.now": {"executor"},
    "$JS.API.CONSUMER.MSG.NEXT.EXECUTIONS.projection": {"gateway"},
    "$JS.API.CONSUMER.MSG.NEXT.EXECUTIONS.analytics": {"analytics"},
    "$JS.ACK.EXECUTIONS.now.1.2.3.4.5": {"executor"},
    "$JS.ACK.EXECUTIONS.analytics.1.2.3.4.5": {"analytics"},
    "$JS.API.STREAM.MSG.GET.KV_idempotency": {"gateway"},
    "$JS.API.STREAM.MSG.GET.LOGS": set(),
    "$JS.API.STREAM.MSG.DELETE.EXECUTIONS": {"janitor"},
    "$JS.API.STREAM.PURGE.EXECUTIONS": set(),
    "$JS.API.STREAM.PURGE.DELTAS": {"executor"},
    "$JS.API.STREAM.PURGE.KV_idempotency": set(),
    "$JS.API.STREAM.UPDATE.EXECUTIONS": set(),
    "$JS.API.STREAM.DELETE.EXECUTIONS": set(),
    "$JS.API.STREAM.CREATE.MINE": set(),
    "$JS.API.CONSUMER.CREATE.EXECUTIONS.mine": set(),
    "$JS.API.CONSUMER.CREATE.KV_idempotency.mine": set(),
    "$JS.API.CONSUMER.DURABLE.CREATE.EXECUTIONS.now": set(),
    "$JS.API.CONSUMER.DELETE.EXECUTIONS.now": set(),
    "$JS.API.CONSUMER.PAUSE.EXECUTIONS.now": set(),
    "$JS.API.STREAM.NAMES": set(),
    "$SYS.REQ.SERVER.PING": set(),
    "anything": set(),
}
HEARD = {
    "committed.executions.*.>": {"gateway"},
    "committed.executions.*.stop_requested": {"gateway", "executor"},
    "committed.executions.e.node_completed": {"gateway"},
    "executions.>": set(),
    "deltas.*": {"gateway"},
    "logs.>": set(),
    "changed.keys": {"gateway"},
    "providers.models": {"executor"},
    "$KV.idempotency.>": set(),
    "$O.artifacts.>": set(),
    "_INBOX.>": set(),
    "_INBOX_gateway.>": {"gateway"},
    "_INBOX_executor.x": {"executor"},
    "$JS.EVENT.ADVISORY.>": set(),
    ">": set(),
}


@pytest.mark.parametrize("name", SERVICES)
async def test_nobody_writes_what_is_another_service_s(server: NatsServer, name: str) -> None:
    wanted = {f"executions.e.{kind}": who for kind, who in EVENTS.items()} | OTHERS
    async with logged_in(server, name) as user:
        reply = f"{inbox_prefix(name)}.none"
        assert {subject for subject in wanted if await user.publishes(subject, reply)} == {
            subject for subject, who in wanted.items() if name in who
        }


@pytest.mark.parametrize("name", SERVICES)
async def test_nobody_hears_what_is_meant_for_another_service(server: NatsServer, name: str) -> None:
    async with logged_in(server, name) as user:
        assert {subject for subject in HEARD if await user.hears(subject)} == {
            subject for subject, who in HEARD.items() if name in who
        }


async def test_the_operator_may_do_all_but_say_that_something_was_stored(server: NatsServer) -> None:
    async with logged_in(server, "operator") as user:
        assert await user.hears(">")
        assert await user.publishes("anything")
        assert not await user.publishes("committed.executions.e.completed")


async def test_an_executor_answers_what_it_is_asked_and_only_that(server: NatsServer) -> None:
    async with logged_in(server, "gateway") as gateway, logged_in(server, "executor") as executor:
        subscription = await executor.nc.subscribe(PROVIDER_MODELS)
        await executor.settled()
        inbox = await gateway.nc.subscribe(gateway.nc.new_inbox())
        await gateway.nc.publish(PROVIDER_MODELS, b"", inbox.subject)
        question = await subscription.next_msg(5)
        assert await executor.publishes(question.reply)
        assert (await inbox.next_msg(5)).data == b"{}"
        assert not await executor.publishes(question.reply)


async def test_a_refusal_is_an_error_in_the_log(server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    nc = await connect(server.url_for("analytics"), "analytics")
    with caplog.at_level(logging.ERROR, "shared.nats"):
        await nc.publish("executions.e.completed", b"{}")
        async with asyncio.timeout(5):
            while not caplog.messages:
                await nc.flush()
    await nc.close()
    [line] = caplog.messages
    assert "permissions violation for publish" in line
    assert "executions.e.completed" in line
    assert server.url_for("analytics").split(":")[2].split("@")[0] not in caplog.text


def test_the_file_for_a_cluster_is_made_from_the_same_table() -> None:
    assert FILE.read_text() == text(), "run make nats"


def test_a_server_of_a_cluster_takes_the_file_with_passwords_from_its_environment(tmp_path: Path) -> None:
    config = tmp_path / "nats.conf"
    config.write_text(f'include "{os.path.relpath(FILE, tmp_path)}"\n')
    passwords = {password_variable(user): f"secret-{user}" for user in ACCESS}
    check = [find_binary(), "-t", "-c", str(config)]
    done = subprocess.run(check, env=passwords, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    missing = subprocess.run(check, env={}, capture_output=True, text=True, timeout=20, check=False)
    assert missing.returncode != 0, "a user without a password must not be"


async def _expected(_: Exception) -> None:
    """It is refused on purpose."""
