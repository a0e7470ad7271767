"""A log in memory, for unit tests. The contract suite runs against it and against the real one."""

from collections.abc import Sequence
from datetime import UTC, datetime

from shared.errors import Conflict
from shared.events import AnyEvent, Recorded, decode, encode
from shared.ids import new_id
from shared.log import Headers


class MemoryLog:
    def __init__(self) -> None:
        self._stored: list[Recorded] = []

    async def append(
        self,
        execution_id: str,
        event: AnyEvent,
        after: int,
        *,
        headers: Headers | None = None,
        message_id: str | None = None,
    ) -> int:
        newest = await self.load(execution_id)
        if (newest[-1].seq if newest else 0) != after:
            mine = [r for r in newest if r.after == after and message_id and r.message_id == message_id]
            if mine:
                return mine[0].seq
            raise Conflict(execution_id, after)
        recorded = Recorded(
            execution_id=execution_id,
            event=decode(encode(event)),
            seq=len(self._stored) + 1,
            time=datetime.now(UTC),
            after=after,
            message_id=message_id or new_id(),
        )
        self._stored.append(recorded)
        return recorded.seq

    async def load(self, execution_id: str, after: int = 0) -> Sequence[Recorded]:
        return [r for r in self._stored if r.execution_id == execution_id and r.seq > after]
