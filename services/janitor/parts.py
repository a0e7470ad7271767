"""What the janitor works with. Built by `services.janitor.app`."""

from dataclasses import dataclass

from nats.aio.client import Client
from sqlalchemy.ext.asyncio import AsyncEngine

from services.janitor.policy import Limits
from shared.artifacts import Artifacts
from shared.log import ExecutionLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    nc: Client
    db: AsyncEngine
    log: ExecutionLog
    artifacts: Artifacts
    limits: Limits
