"""Postgres: engines with bounded waits, and transactions bound to a role and a user."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.errors import Unavailable


class Role(StrEnum):
    """What a connection of the gateway may be, one at a time. Its login alone may do nothing."""

    USER = "lekhika_user"
    """Rows of one user, without costs."""
    AUTH = "lekhika_auth"
    """Keys and sessions by digest."""
    PROJECTOR = "lekhika_projector"
    """Writes the read model."""
    ADMIN = "lekhika_admin"
    """A superadmin: all rows, costs too."""


_SERVER_KEEPALIVES = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 3}
"""The server too asks whether the other machine is alive: else one that lost its power would go on holding its
advisory lock until the kernel's two hours are over."""

_BIND = text("SELECT set_config('role', :role, true), set_config('lekhika.user_id', :user_id, true)")


def driver_url(url: str) -> str:
    """`url` with psycopg 3 as its driver, whatever form of postgres URL it has."""
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def make_engine(
    url: str,
    *,
    application: str,
    pool_size: int = 8,
    wait_seconds: float = 5.0,
    connect_seconds: int = 5,
    statement_seconds: float = 10.0,
) -> AsyncEngine:
    """A pool of at most `pool_size` connections; connects on first use.

    A connection is not tried before use, which would take a question for each: see `transaction`.
    """
    milliseconds = int(statement_seconds * 1000)
    return create_async_engine(
        driver_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=wait_seconds,
        pool_recycle=1800,
        pool_use_lifo=True,
        hide_parameters=True,  # errors end up in logs, and among the parameters are digests and what people wrote
        connect_args={
            "connect_timeout": connect_seconds,
            "application_name": application,
            "options": _options(milliseconds),
            "keepalives_idle": 30,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            # Ends the connection when the server's machine acknowledges nothing for so long.
            "tcp_user_timeout": max(milliseconds, 1000) + 5000,
        },
    )


def _options(statement_milliseconds: int) -> str:
    options = {
        "statement_timeout": statement_milliseconds,
        "idle_in_transaction_session_timeout": 60_000,
        **_SERVER_KEEPALIVES,
    }
    return " ".join(f"-c {name}={value}" for name, value in options.items())


@asynccontextmanager
async def transaction(
    engine: AsyncEngine, *, role: Role | None = None, user_id: str | None = None
) -> AsyncIterator[AsyncConnection]:
    """A transaction as `role`, for `user_id` where rows belong to users; without a role, as the login.

    Both end with the transaction, so nothing of them stays on a pooled connection. One that turns out to be broken when it is
    bound to a role, as all are after a restart of the server, is replaced by a new one. Without a role that shows at the first
    statement only: then the transaction raises Unavailable, and the pool starts anew.

    Raises: Unavailable, when Postgres or a free connection of the pool can not be had, or the server gave up
    (time-out, deadlock, restart). Raised from the commit, it leaves open whether the commit happened.
    """
    try:
        async with AsyncExitStack() as stack:
            yield await _begun(stack, engine, role, user_id)
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise Unavailable(f"database: {_first_line(error)}") from error


async def _begun(
    stack: AsyncExitStack, engine: AsyncEngine, role: Role | None, user_id: str | None
) -> AsyncConnection:
    try:
        return await stack.enter_async_context(_bound(engine, role, user_id))
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    # Nothing was done on the broken one.
    return await stack.enter_async_context(_bound(engine, role, user_id))


@asynccontextmanager
async def _bound(
    engine: AsyncEngine, role: Role | None, user_id: str | None
) -> AsyncIterator[AsyncConnection]:
    async with engine.begin() as connection:
        if role is not None:
            await act_as(connection, role, user_id)
        yield connection


async def act_as(connection: AsyncConnection, role: Role, user_id: str | None = None) -> None:
    """From here on to the end of the transaction."""
    await connection.execute(_BIND, {"role": role.value, "user_id": user_id or ""})


def is_unknown_zone(error: DBAPIError) -> bool:
    """Whether it is of a time zone that the server does not know: names may go with an update of its zone data."""
    return getattr(error.orig, "sqlstate", None) == "22023"


def _first_line(error: Exception) -> str:
    lines = str(getattr(error, "orig", error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__
