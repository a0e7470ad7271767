"""Failed log-ins in the audit: so many of them, however many there are."""

import time
from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from services.gateway.rate_limits import Buckets
from shared import audit
from shared.db import Role, transaction

AT_ONCE = 100
EVERY_SECONDS = 10.0
"""Beyond those at once, one is listed in so many seconds, by each gateway: whoever guesses must not fill the database."""
UNKNOWN = "unknown"
"""Who tries to log in, and whom an address belongs to that nobody has. What was typed is not kept: it may be a password."""


class RefusedLogIns:
    """What is left out is counted by the next one that is listed."""

    def __init__(self, db: AsyncEngine, clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._clock = clock
        self._room = Buckets(1 / EVERY_SECONDS, AT_ONCE)
        self._left_out = 0

    async def note(self, user_id: str | None) -> None:
        """`user_id` is whose address was given. Takes as long without one. Raises: Unavailable."""
        if self._room.take("", self._clock()) > 0:
            self._left_out += 1
            return
        left_out, self._left_out = self._left_out, 0
        details = {"not_listed_before": left_out} if left_out else {}
        # As the role of superadmins: those that serve people write no act of somebody else.
        async with transaction(self._db, role=Role.ADMIN) as connection:
            await audit.record(
                connection,
                actor=UNKNOWN,
                action="sessions.refuse",
                target=user_id or UNKNOWN,
                details=details,
            )
