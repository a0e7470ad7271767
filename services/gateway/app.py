"""The gateway, put together."""

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, cast

from fastapi import Depends, FastAPI
from fastapi.responses import FileResponse
from nats.aio.client import Client
from nats.aio.msg import Msg
from sqlalchemy import text
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send
from uvicorn._types import ASGIApplication

from services.gateway import (
    audit_log,
    data_export,
    data_subjects,
    engine_admin,
    engine_lifecycle,
    engines,
    executions,
    expired_sessions,
    keys,
    keys_admin,
    me,
    models,
    openapi,
    problems,
    sessions,
    usage,
    usage_admin,
    usage_admin_executions,
    usage_insights,
    users,
    workers,
)
from services.gateway.authenticator import CHANGED_KEYS, Authenticator
from services.gateway.body_limit import BODY_SECONDS, BodyLimit
from services.gateway.catalogue import Catalogue
from services.gateway.connection import DroppableConnection
from services.gateway.conversions import Conversions
from services.gateway.cookies import CSRF_HEADER
from services.gateway.engine_checks import EngineChecks
from services.gateway.eraser import Eraser
from services.gateway.idempotency import IdempotencyKeys
from services.gateway.identity_tokens import IdentityTokens
from services.gateway.known_parameters import refuse_unknown
from services.gateway.lanes import Lanes
from services.gateway.last_used import LastUsed
from services.gateway.log_in_limits import LogInLimits
from services.gateway.log_room import LogRoom
from services.gateway.middleware import Observe, SecurityHeaders
from services.gateway.parts import Parts
from services.gateway.passwords import Passwords
from services.gateway.projector import Projector
from services.gateway.provider_keys import ProviderKeys
from services.gateway.rate_limits import Buckets
from services.gateway.refused_log_ins import RefusedLogIns
from services.gateway.request_bodies import Bodies
from services.gateway.settings import GatewaySettings
from services.gateway.texts import Texts
from services.gateway.unknown_credentials import UnknownCredentials
from shared.artifacts import Artifacts
from shared.asgi import Parser, serve
from shared.db import make_engine, transaction
from shared.errors import Permanent
from shared.health import health_app
from shared.heartbeat import Heartbeat
from shared.jetstream import api
from shared.log import ExecutionLog
from shared.log_shipping import LogShipper
from shared.logs import LineMaker
from shared.nats import connect
from shared.service import Stop, spare_the_collector, version
from shared.subjects import EXECUTIONS
from shared.tasks import cancel_and_wait, spawn
from shared.topology import missing

SERVICE = "gateway"
CONSOLE = Path(__file__).with_name("console")
NO_CACHE = {"Cache-Control": "no-cache"}
HEALTH = ("/livez", "/readyz", "/metrics")

_log = logging.getLogger(__name__)


class _Console(StaticFiles):
    """Checked anew at each load: its modules belong together, and must not be of two releases."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if isinstance(response, RedirectResponse):  # to a folder, at whatever host the request names
            raise HTTPException(404)
        response.headers.update(NO_CACHE)
        return response


class _Raw:
    """A plain ASGI application as a route's end point."""

    def __init__(self, app: ASGIApplication) -> None:
        self._app = cast("Any", app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def create_app(parts: Parts) -> FastAPI:
    """The application over parts that run already."""
    app = FastAPI(
        title="Lekhika",
        version=version(),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # such a redirect would lead to whatever host the request names
        separate_input_output_schemas=False,
        responses=openapi.refusals(),
        dependencies=[Depends(refuse_unknown)],
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
        },  # ours has the names of the conventions
    )
    app.state.parts = parts
    problems.install(app)
    openapi.install(app)
    for module in (
        executions, engines, engine_lifecycle, engine_admin, models, usage, usage_insights, me, keys, sessions, users,
        workers,
    ):  # fmt: skip
        app.include_router(module.router)
    admins = (models.admin, usage_admin.router, usage_admin_executions.router, audit_log.router)
    for router in (*admins, keys_admin.router, data_export.router, data_subjects.router):
        app.include_router(router)
    health = _Raw(health_app(service=SERVICE, instance=parts.instance, ready=lambda: ready(parts)))
    app.router.routes.extend(Route(path, health, methods=["GET"], include_in_schema=False) for path in HEALTH)
    app.router.routes.append(Route("/", _page, methods=["GET"], include_in_schema=False))
    app.mount("/console", _Console(directory=CONSOLE, html=True), name="console")
    app.add_middleware(BodyLimit, most=parts.settings.max_body_bytes, seconds=BODY_SECONDS)
    app.add_middleware(Observe)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=parts.settings.allowed_origins(),
        allow_credentials=True,
        max_age=parts.settings.cors_seconds,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=[
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "If-Match",
            "Last-Event-ID",
            CSRF_HEADER,
            "traceparent",
        ],
        expose_headers=[
            "Content-Disposition",
            "ETag",
            "Location",
            "Retry-After",
            "X-Lekhika-Formats",
            "X-Lekhika-Partial",
        ],
    )
    app.add_middleware(SecurityHeaders, https_only=parts.settings.https)
    return app


async def _page(_: Request) -> FileResponse:
    return FileResponse(CONSOLE / "index.html", headers=NO_CACHE)


async def ready(parts: Parts) -> tuple[bool, str]:
    """Whether NATS has the log and Postgres answers. Raises: Unavailable."""
    answer = await api(parts.nc, f"STREAM.INFO.{EXECUTIONS}", {}, seconds=1.5)
    if "error" in answer:
        return False, f"the log: {answer['error'].get('description')}"
    async with transaction(parts.db) as connection:
        await connection.execute(text("SELECT 1"))
    return not parts.drain.is_set(), "shutting down" if parts.drain.is_set() else "all there"


@contextlib.asynccontextmanager
async def compose(settings: GatewaySettings, stop: Stop) -> AsyncIterator[Parts]:
    """All parts of the gateway, running. Raises: Unavailable or Permanent, when it can not start."""
    nc = await connect(settings.nats_url, SERVICE, stop.fail, ca_file=settings.nats_ca_file)
    db = make_engine(
        settings.database_url.get_secret_value(), application=SERVICE, pool_size=settings.database_pool
    )
    log, artifacts = ExecutionLog(nc), Artifacts(nc)
    tokens = settings.tokens()
    parts = Parts(
        settings=settings,
        nc=nc,
        js=nc.jetstream(),
        log=log,
        artifacts=artifacts,
        db=db,
        authenticator=Authenticator(db, nc),
        identity_tokens=IdentityTokens(tokens, ProviderKeys(tokens)) if tokens else None,
        passwords=Passwords(),
        log_ins=LogInLimits(settings),
        refused_log_ins=RefusedLogIns(db),
        requests=Buckets(settings.requests_per_second, settings.requests_burst),
        unknown=UnknownCredentials(settings),
        last_used=LastUsed(db, settings, time.monotonic),
        catalogue=Catalogue(db, nc),
        lanes=Lanes(nc, log, db, settings.now_per_user),
        room=LogRoom(nc),
        idempotency=IdempotencyKeys(nc),
        bodies=Bodies(artifacts),
        texts=Texts(artifacts),
        conversions=Conversions(),
        engine_checks=EngineChecks(),
        fleet=workers.Fleet(),
        eraser=Eraser(),
        drain=stop,
    )
    try:
        absent = await missing(nc)
        if absent:
            raise Permanent(
                f"the topology was not created: {', '.join(absent)} missing; run python -m shared.topology"
            )
        async with (
            _heard(nc, CHANGED_KEYS, parts.authenticator.hear),
            parts.catalogue,
            parts.last_used.running(),
            parts.lanes.running(stop.fail),
            parts.room.running(stop.fail),
            _running(Projector(parts).run(stop), "projector", stop),
            _running(parts.eraser.run(parts), "eraser", stop),
            _running(expired_sessions.run(db), "removal of expired sessions", stop),
        ):
            yield parts
    finally:
        await nc.close()
        await db.dispose()


@contextlib.asynccontextmanager
async def _heard(nc: Client, subject: str, hear: Callable[[Msg], Awaitable[None]]) -> AsyncIterator[None]:
    subscription = await nc.subscribe(subject, cb=hear)
    try:
        yield
    finally:
        if not nc.is_closed:
            await subscription.unsubscribe()


@contextlib.asynccontextmanager
async def _running(work: Coroutine[Any, Any, None], name: str, stop: Stop) -> AsyncIterator[None]:
    """Within the block; the process fails when it ends by itself."""
    task = spawn(work, name=name)
    task.add_done_callback(lambda ended: None if ended.cancelled() else stop.fail(f"the {name} ended"))
    try:
        yield
    finally:
        await cancel_and_wait(task)


def listening(parts: Parts) -> contextlib.AbstractAsyncContextManager[int]:
    """Serves the application while the block runs; gives the port. Raises: Permanent, when it can not listen."""
    settings = parts.settings
    return serve(
        cast("ASGIApplication", create_app(parts)),
        settings.http_host,
        settings.http_port,
        http=cast("Parser", DroppableConnection),
        graceful_seconds=settings.shutdown_seconds,
    )


async def main(settings: GatewaySettings, stop: Stop, maker: LineMaker) -> None:
    """Runs until `stop`. Raises: Unavailable or Permanent, when it can not start."""
    who: dict[str, Any] = {"service": SERVICE, "instance": settings.instance}

    def snapshot() -> dict[str, Any]:
        return {"state": "draining" if stop.is_set() else "ready"}

    async with (
        compose(settings, stop) as parts,
        LogShipper(parts.nc, maker, **who),
        Heartbeat(parts.js, **who, snapshot=snapshot),
        listening(parts) as port,
    ):
        spare_the_collector()  # of the routes, which were built just now
        _log.info("listening on http://%s:%d", settings.http_host, port)
        await stop.wait()
