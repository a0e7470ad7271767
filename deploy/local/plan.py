"""What a stack consists of, as data: the services, and the steps before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.environment import python_module


@dataclass(frozen=True, kw_only=True)
class ServicePlan:
    """One instance of a service. `role` names its database login; None is without a database."""

    name: str
    number: int
    argv: Sequence[str]
    role: str | None
    calls_models: bool = False

    @property
    def key(self) -> str:
        return f"{self.name}-{self.number}"


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Programs that run once at each start, and may run again at no harm."""

    migrations: Sequence[str]
    topology: Sequence[str]
    seed: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class StackPlan:
    services: Sequence[ServicePlan]
    steps: Steps
    standin: Sequence[str]
    """Gets --host and --port."""


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """What the caller asks for. Port 0 means a free one."""

    home: Path
    port: int = 8080
    host: str = "127.0.0.1"
    gemini_key: str | None = None
    gemini_url: str | None = None


def standard_plan(executors: int) -> StackPlan:
    def service(name: str, number: int = 1) -> ServicePlan:
        calls_models = name == "executor"
        return ServicePlan(
            name=name,
            number=number,
            argv=python_module(f"services.{name}"),
            role=None if calls_models else name,
            calls_models=calls_models,
        )

    return StackPlan(
        services=[
            service("gateway"),
            *(service("executor", number + 1) for number in range(executors)),
            service("analytics"),
            service("janitor"),
        ],
        steps=Steps(
            migrations=python_module("deploy.migrations", "upgrade"),
            topology=python_module("shared.topology"),
            seed=python_module("services.gateway.seed"),
        ),
        standin=python_module("deploy.local.standin"),
    )
