"""What the gateway is made of, once it runs. Built by `services.gateway.app`, handed to the routes."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request
from nats.aio.client import Client
from nats.js import JetStreamContext
from sqlalchemy.ext.asyncio import AsyncEngine

from services.gateway.conversions import Conversions
from services.gateway.engine_checks import EngineChecks
from services.gateway.idempotency import IdempotencyKeys
from services.gateway.identity_tokens import IdentityTokens
from services.gateway.last_used import LastUsed
from services.gateway.passwords import Passwords
from services.gateway.rate_limits import Buckets
from services.gateway.refused_log_ins import RefusedLogIns
from services.gateway.request_bodies import Bodies
from services.gateway.settings import GatewaySettings
from services.gateway.texts import Texts
from shared.artifacts import Artifacts
from shared.log import ExecutionLog

if TYPE_CHECKING:  # they use Parts themselves
    from services.gateway.authenticator import Authenticator
    from services.gateway.catalogue import Catalogue
    from services.gateway.eraser import Eraser
    from services.gateway.lanes import Lanes
    from services.gateway.log_in_limits import LogInLimits
    from services.gateway.log_room import LogRoom
    from services.gateway.unknown_credentials import UnknownCredentials
    from services.gateway.workers import Fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    settings: GatewaySettings
    nc: Client
    js: JetStreamContext
    log: ExecutionLog
    artifacts: Artifacts
    db: AsyncEngine
    authenticator: "Authenticator"
    identity_tokens: IdentityTokens | None
    """None when no tokens of an identity provider are taken."""
    passwords: Passwords
    log_ins: "LogInLimits"
    refused_log_ins: RefusedLogIns
    requests: Buckets
    unknown: "UnknownCredentials"
    last_used: LastUsed
    catalogue: "Catalogue"
    lanes: "Lanes"
    room: "LogRoom"
    idempotency: IdempotencyKeys
    bodies: Bodies
    texts: Texts
    conversions: Conversions
    engine_checks: EngineChecks
    fleet: "Fleet"
    eraser: "Eraser"
    drain: asyncio.Event
    """Set when the process is asked to end: open streams close politely."""

    @property
    def instance(self) -> str:
        return self.settings.instance


async def get_parts(request: Request) -> Parts:
    """The parts of the application that serves this request. A coroutine, so that no thread is asked for it."""
    parts: Parts = request.app.state.parts
    return parts
