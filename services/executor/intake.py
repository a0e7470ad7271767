"""Takes work from the lanes with exact concurrency: what is asked for and what runs never exceed the slots.

A fetched message that waits without progress is redelivered and run twice, so nothing is fetched ahead. `now` always
has long polls waiting; `later` gets, in rotation over its partitions, the slots that `now` leaves, at most four
fifths of them, and keeps a small share even when `now` is busy. Who has something in `later` here has his slots of
`now` counted with it: so no user has more than four fifths.
"""

import asyncio
import contextlib
import functools
import itertools
import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from shared import subjects

POLL_SECONDS = 5.0
GRACE_SECONDS = 2.0
"""After its expiry a poll of which nothing is heard any more is given up."""
IDLE_SECONDS = 0.25
"""Between two looks at empty `later` lanes."""
LEAVE_SECONDS = 1.0
"""How long taking leave of the queue may take."""
_EXPIRED = "408"
_ANSWERS = ("404", _EXPIRED)
NOW_WAITING = 16
"""Long polls that wait on `now` at most, and at most a third of the slots, which `later` can not have meanwhile: as
many requests as can start in the same instant.
"""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Poll:
    """A place for one pull request after another. Its inbox is its own: a message does not name the poll it answers."""

    inbox: str
    left: int = 0
    deadline: float = 0.0
    subscription: Subscription | None = None


class Pull:
    """Pull requests on one durable consumer, with account of every message that may still come.

    The server takes turns among the polls that wait, and each expires with what it has left. So each is counted by
    itself; were they counted together, messages that can not come any more would be waited for.
    """

    def __init__(
        self, nc: Client, lane: str, deliver: Callable[[Msg], None], over: Callable[[], None]
    ) -> None:
        self._nc = nc
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{subjects.EXECUTIONS}.{subjects.lane_consumer(lane)}"
        self._deliver = deliver
        self._over = over
        self._polls: list[_Poll] = []
        self._rests_until = 0.0
        self._closed = False
        self.heard_at = time.monotonic()
        """When the consumer answered last."""

    async def open(self) -> None:
        await self._free_poll()

    async def close(self) -> None:
        """Nothing more is delivered to us; what was on its way still comes, and is dealt with, before this returns.

        Raises: NatsError, when there is no connection.
        """
        self._closed = True
        if not self._nc.is_closed:
            open_ones = [poll.subscription for poll in self._polls if poll.subscription is not None]
            await asyncio.gather(*(each.drain() for each in open_ones))  # type: ignore[no-untyped-call]

    async def _free_poll(self) -> _Poll:
        for poll in self._polls:
            if poll.left == 0:
                return poll
        poll = _Poll(self._nc.new_inbox())
        poll.subscription = await self._nc.subscribe(poll.inbox, cb=functools.partial(self._hear, poll))
        self._polls.append(poll)
        return poll

    @property
    def outstanding(self) -> int:
        """Messages that may still come."""
        return sum(poll.left for poll in self._polls)

    @property
    def resting(self) -> bool:
        """Whether it was found empty a moment ago."""
        return time.monotonic() < self._rests_until

    async def ask(self, count: int, *, wait: bool) -> None:
        """Asks for up to `count` messages; with `wait` for some seconds, else for what is there now."""
        poll = await self._free_poll()
        if self._closed:
            return
        request = (
            {"batch": count, "expires": int(POLL_SECONDS * 1e9)}
            if wait
            else {"batch": count, "no_wait": True}
        )
        seconds = (POLL_SECONDS if wait else 0.0) + GRACE_SECONDS
        poll.left, poll.deadline = count, time.monotonic() + seconds
        await self._nc.publish(self._subject, json.dumps(request).encode(), reply=poll.inbox)

    def sweep(self) -> None:
        """Gives up polls that the server has forgotten, as it does when the connection or its leader is lost."""
        now = time.monotonic()
        for poll in self._polls:
            if poll.deadline < now:
                poll.left = 0

    async def _hear(self, poll: _Poll, msg: Msg) -> None:
        status = (msg.headers or {}).get("Status")
        if status in (None, *_ANSWERS):
            self.heard_at = time.monotonic()
        if status is None:
            poll.left = max(0, poll.left - 1)
            self._rests_until = 0.0
            self._deliver(msg)
        elif status != "100":
            poll.left = 0
            if (
                status != _EXPIRED
            ):  # empty, or there is no consumer or no leader: asking at once gains nothing
                self._rests_until = time.monotonic() + IDLE_SECONDS
            self._over()


class Intake:
    """Runs until cancelled. `start` is called with a message for each slot taken; `free` gives a slot back."""

    def __init__(self, nc: Client, slots: int, start: Callable[[Msg, str], None]) -> None:
        self._nc = nc
        self.slots = slots
        self.running = {subjects.NOW: 0, "later": 0}
        self._users: dict[str, Counter[str]] = {subjects.NOW: Counter(), "later": Counter()}
        """How many slots each user has."""
        self.paused = False
        self._start = start
        self._pulls: list[Pull] = []
        self._changed = asyncio.Event()
        self._now = Pull(nc, subjects.NOW, lambda msg: self._take(msg, subjects.NOW), self._changed.set)
        self._later = [
            Pull(nc, lane, lambda msg: self._take(msg, "later"), self._empty)
            for lane in subjects.ALL_LANES
            if lane != subjects.NOW
        ]
        self._rotation = itertools.cycle(self._later)
        self._short = False
        """Whether there were fewer slots for `later` than lanes to ask."""

    def _take(self, msg: Msg, lane: str) -> None:
        self.running[lane] += 1
        self._users[lane][subjects.user_of(msg.subject)] += 1
        self._start(msg, lane)
        self._changed.set()

    def _empty(self) -> None:
        """A lane of `later` had nothing. It is looked at again after a rest; those not yet asked are asked at once."""
        if self._short:
            self._changed.set()

    def free(self, lane: str, user_id: str) -> None:
        """A slot of that lane, which that user had, is free again."""
        self.running[lane] -= 1
        users = self._users[lane]
        users[user_id] -= 1
        if not users[user_id]:
            del users[user_id]
        self._changed.set()

    @property
    def silent(self) -> bool:
        """Whether the queue has not answered for long although it was asked."""
        asked = not self.paused and self.used < self.slots
        return asked and time.monotonic() - self._now.heard_at > POLL_SECONDS + 2 * GRACE_SECONDS

    @property
    def used(self) -> int:
        return sum(self.running.values())

    async def run(self) -> None:
        self._pulls = [self._now, *self._later]
        for pull in self._pulls:
            await pull.open()
        try:
            while True:
                try:
                    await self._ask()
                except NatsError as error:
                    _log.warning("asking for work failed: %s", type(error).__name__)
                await self._wait()
        finally:
            await self.leave()

    async def leave(self) -> None:
        """Asks for nothing more, and takes back what was asked for.

        Before anything is handed back: else it would come to our own polls again, and wait there for our end.
        """
        self.paused = True
        pulls, self._pulls = self._pulls, []
        with contextlib.suppress(NatsError, TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await asyncio.gather(*(pull.close() for pull in pulls))

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()

    async def _ask(self) -> None:
        for pull in (self._now, *self._later):
            pull.sweep()
        if self.paused:
            return
        held = self._now.outstanding
        wanted = min(NOW_WAITING, max(1, self.slots // 3), held + self._shares()[0])
        if (
            held <= wanted // 2 and wanted > held and not self._now.resting
        ):  # many at once: each poll is a message to the server
            await self._now.ask(wanted - held, wait=True)
        for_later = self._shares()[1]  # of what `now` has left
        asked = self._turns(for_later)
        for pull in asked:
            await pull.ask(for_later // len(asked), wait=False)

    def _shares(self) -> tuple[int, int]:
        return shares(
            self.slots,
            now=self.running[subjects.NOW] + self._now.outstanding,
            later=self.running["later"] + sum(pull.outstanding for pull in self._later),
            both=sum(self._users[subjects.NOW][user_id] for user_id in self._users["later"]),
        )

    def _turns(self, count: int) -> list[Pull]:
        """The next `count` lanes of `later` that can be asked; the others lose their turn and cost nothing."""
        found: list[Pull] = []
        for _ in self._later:
            if len(found) == count:
                break
            pull = next(self._rotation)
            if pull.outstanding == 0 and not pull.resting:
                found.append(pull)
        self._short = len(found) == count
        return found


def shares(slots: int, *, now: int, later: int, both: int = 0) -> tuple[int, int]:
    """How many more messages to ask for: (of `now`, of `later`). Pure.

    `now` and `later` count what runs and what may still come. One slot in ten, at least one, is kept for `later`;
    one in five, at least one, for `now`, and besides as many as the `both` of `now` whose users have some of `later`.
    """
    free = max(0, slots - now - later)
    later_share = max(1, slots // 10) if slots > 1 else 0
    later_cap = max(later_share, slots - max(1, slots // 5) - both)
    for_now = max(0, min(free, slots - later_share - now))
    for_later = max(0, min(free, later_cap - later))
    return for_now, for_later
