"""Everything that the log has ever held, taken down while it grows: what is pruned later is known here."""

import asyncio
import contextlib
from collections.abc import Callable

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared import subjects
from shared.errors import Unavailable
from shared.events import Recorded
from shared.execution import ExecutionState, fold
from shared.jetstream import direct_get
from shared.messages import from_copy
from shared.tasks import cancel_and_wait, spawn

LOOK_SECONDS = 0.1


class Recorder:
    """Reads beside the product, over a connection of its own."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self.position = 0
        self.histories: dict[str, list[Recorded]] = {}
        self.states: dict[str, ExecutionState | None] = {}
        self.messages: list[Msg] = []
        """The last ones, as they are stored."""
        self._grown = asyncio.Event()

    def start(self) -> None:
        self._task = spawn(self._run(), name="recorder")

    async def close(self) -> None:
        await cancel_and_wait(self._task)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(Unavailable, nats.errors.Error):
                while await self._read():
                    pass
            await asyncio.sleep(LOOK_SECONDS)

    async def _read(self) -> bool:
        request = {"seq": self.position + 1, "next_by_subj": subjects.ALL_EXECUTIONS, "batch": 512}
        found = [msg async for msg in direct_get(self._nc, subjects.EXECUTIONS, request)]
        for msg in found:
            self._take(from_copy(msg), msg)
        return bool(found)

    def _take(self, recorded: Recorded, msg: Msg) -> None:
        self.position = recorded.seq
        self.histories.setdefault(recorded.execution_id, []).append(recorded)
        self.states[recorded.execution_id] = fold([recorded], self.states.get(recorded.execution_id))
        self.messages = [*self.messages[-500:], msg]
        self._grown.set()

    def open(self) -> list[str]:
        return [key for key, state in self.states.items() if state is not None and not state.ended]

    async def until(self, fact: Callable[[], bool], seconds: float) -> bool:
        """Waits for something that the log will say."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not fact():
                    self._grown.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.5):
                            await self._grown.wait()
        return fact()
