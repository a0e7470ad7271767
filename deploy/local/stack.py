"""The whole local stack: in which order its parts start and stop, and what stack.json says of them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence

import httpx

from deploy.local.database_owner import OWNER, give_to_owner
from deploy.local.environment import (
    PROJECT,
    Provider,
    choose_provider,
    inherited,
    openai_variables,
    service_variables,
)
from deploy.local.home import Home, Ports, StackSecrets, credentials_of, write_private
from deploy.local.leftovers import ProcessRecords
from deploy.local.members import Probes, nats_member, postgres_member
from deploy.local.nats_server import NatsPorts, NatsServer
from deploy.local.plan import ServicePlan, StackOptions, StackPlan
from deploy.local.postgres import PostgresServer
from deploy.local.processes import Launch, StackError, first_of, port_is_free
from deploy.local.program import program_name
from deploy.local.reporter import Reporter
from deploy.local.supervisor import Member, Supervisor

GRACE_SECONDS = 10.0
STANDIN = "stand-in"
ROLES = {"admin": "superadmin", "user": "user"}


class Stack:
    """Needs the lock of its home. `start`, then `keep`; `stop` after `keep` was cancelled, or instead of it."""

    def __init__(self, home: Home, options: StackOptions, plan: StackPlan, reporter: Reporter) -> None:
        self._home = home
        self._plan = plan
        self._options = options
        self._reporter = reporter
        self._ports = Ports(home)
        self._secrets = StackSecrets.of(home)
        self.credentials = credentials_of(home)
        self._records = ProcessRecords(home.pids)
        self.supervisor = Supervisor(self._records, changed=self._write_state, say=reporter.say)
        self._http = httpx.AsyncClient(trust_env=False, timeout=2.0)
        self._probes = Probes(self._http)
        self._base = inherited(os.environ)
        self._is_ready = False

    def _choose(self) -> None:
        """Ports can be chosen only after leftovers of this home have ended."""
        home, options = self._home, self._options
        names = [service.key for service in self._plan.services]
        self._service_ports = {name: self._ports.choose(name) for name in names if name != "gateway-1"}
        self._service_ports["gateway-1"] = self._gateway_port()
        self.gateway_url = f"http://{options.host}:{self._service_ports['gateway-1']}"
        self._nats = NatsServer(
            home.path / "nats",
            ports=NatsPorts(client=self._ports.choose("nats"), monitor=self._ports.choose("nats-monitor")),
            passwords=self._secrets.nats,
        )
        self._postgres = PostgresServer(
            home.path / "postgres", port=self._ports.choose("postgres"), password=self._secrets.postgres
        )
        self._standin_port = self._ports.choose(STANDIN)
        self.provider: Provider = choose_provider(
            gemini_key=options.gemini_key,
            gemini_url=options.gemini_url,
            standin_url=f"http://127.0.0.1:{self._standin_port}",
            openai=openai_variables(os.environ),
        )

    def _gateway_port(self) -> int:
        wanted = self._options.port or self._ports.choose("gateway-1")
        if not port_is_free(wanted, self._options.host):
            raise StackError(
                f"Port {wanted} is taken by another program. Choose another, or 0 for a free one: "
                f"`{program_name()} up --port N` or `make run PORT=N`."
            )
        return wanted

    async def start(self) -> None:
        """Returns when every service is ready; raises StackError with a text for people."""
        self._home.stack.unlink(missing_ok=True)
        left = self._records.end_leftovers()
        if left:
            self._reporter.say(f"ended what an earlier stack had left running: {', '.join(left)}")
        self._choose()
        self.supervisor.install()
        try:
            async with self._reporter.ticking(), asyncio.TaskGroup() as group:
                messaging = group.create_task(self._start_messaging())
                if self.provider.start_standin:
                    group.create_task(self._start_member(self._standin_member()))
                database = group.create_task(self._start_database())
                group.create_task(self._seed(database))
                for service in self._plan.services:
                    needs = [messaging] if service.role is None else [messaging, database]
                    group.create_task(self._start_service(service, needs))
        except ExceptionGroup as problems:
            raise first_of(problems) from problems
        self._is_ready = True
        self._write_state()
        self._reporter.total("everything is ready")

    async def _start_messaging(self) -> None:
        await self._start_member(nats_member(self._nats, self._probes))
        await self._step(
            "messaging topology", self._plan.steps.topology, {"NATS_URL": self._nats.url_for("topology")}
        )

    async def _start_database(self) -> None:
        with self._reporter.step("PostgreSQL"):
            # Not beside the loop: it takes half a second, once for each home, while other processes start.
            self._postgres.initialise()
            await self.supervisor.start(postgres_member(self._postgres))
            self._postgres.create_database()
            give_to_owner(self._postgres.url, self._secrets.owner)
        passwords = {
            f"LEKHIKA_DB_PASSWORD_{role.upper()}": word for role, word in self._secrets.roles.items()
        }
        await self._step(
            "database migrations",
            self._plan.steps.migrations,
            {"DATABASE_URL": self._postgres.url_for(OWNER, self._secrets.owner), **passwords},
        )

    async def _seed(self, database: asyncio.Task[None]) -> None:
        """Beside the start of the services, which read these tables when they are asked for something."""
        await asyncio.gather(database)
        users = [
            {"name": who.capitalize(), "role": ROLES[who], **user} for who, user in self.credentials.items()
        ]
        await self._step(
            "first users and engines",
            self._plan.steps.seed,
            {"DATABASE_URL": self._role_url("gateway")},
            stdin=json.dumps({"users": users}).encode(),
        )

    def _role_url(self, service: str) -> str:
        return self._postgres.url_for(f"lekhika_{service}", self._secrets.roles[service])

    async def _step(
        self, title: str, argv: Sequence[str], variables: dict[str, str], stdin: bytes = b""
    ) -> None:
        log = self._home.logs / f"{title.replace(' ', '-')}.log"
        launch = Launch(argv=argv, log=log, env=self._base | variables, cwd=PROJECT, stdin=stdin)
        with self._reporter.step(title):
            await self.supervisor.run_step(title, launch)

    async def _start_member(self, member: Member) -> None:
        with self._reporter.step(member.title):
            await self.supervisor.start(member)

    def _standin_member(self) -> Member:
        where = ["--host", "127.0.0.1", "--port", str(self._standin_port)]
        launch = Launch(
            argv=[*self._plan.standin, *where],
            log=self._home.logs / "stand-in.log",
            env=self._base,
            cwd=PROJECT,
        )
        probe = self._probes.answers(f"{self.provider.url}/admin/ledger/summary")
        return Member(name=STANDIN, title="stand-in for the Gemini API", launch=lambda: launch, probe=probe)

    async def _start_service(self, service: ServicePlan, needs: list[asyncio.Task[None]]) -> None:
        await asyncio.gather(*needs)
        variables = service_variables(
            nats_url=self._nats.url_for(service.name),
            database_url=None if service.role is None else self._role_url(service.role),
            provider=self.provider,
            calls_models=service.calls_models,
            host=self._options.host,
            port=self._service_ports[service.key],
        )
        log = self._home.logs / f"{service.key}.log"
        launch = Launch(argv=service.argv, log=log, env=self._base | variables, cwd=PROJECT)
        member = Member(
            name=service.key,
            title=service.key,
            launch=lambda: launch,
            probe=self._probes.ready(self._health_url(service)),
            alive=self._probes.answers(self._health_url(service, "livez")),
        )
        await self._start_member(member)

    def _health_url(self, service: ServicePlan, what: str = "readyz") -> str:
        return f"http://{self._options.host}:{self._service_ports[service.key]}/{what}"

    def _write_state(self) -> None:
        if not self._is_ready:
            return
        running = self.supervisor.running
        services = [
            {
                "name": service.name,
                "instance": (running[service.key].readiness or {}).get("instance"),
                "pid": running[service.key].process.pid,
                "health_url": self._health_url(service),
            }
            for service in self._plan.services
        ]
        content = {
            "gateway_url": self.gateway_url,
            "nats_url": self._nats.url,
            "nats_monitor_url": self._nats.monitor_url,
            "database_url": self._postgres.url,
            "gemini_url": self.provider.url,
            "provider": self.provider.kind,
            "services": services,
            "processes": [{"name": name, "pid": one.process.pid} for name, one in running.items()],
        }
        write_private(self._home.stack, content)

    async def stop(self, hurry: asyncio.Event) -> None:
        """Ends the services first, then the servers that they rest on. `hurry` ends the politeness."""
        services = [service.key for service in self._plan.services]
        await self.supervisor.stop(services, grace_seconds=GRACE_SECONDS, hurry=hurry)
        await self.supervisor.stop(list(self.supervisor.running), grace_seconds=GRACE_SECONDS, hurry=hurry)
        self.supervisor.uninstall()
        await self._http.aclose()
        self._home.stack.unlink(missing_ok=True)
        self._records.clear()
