"""Makes the troubles of a plan happen, one after the other; those that last run on beside the next."""

import asyncio
import contextlib
import random
import signal
from collections import Counter
from collections.abc import Sequence
from functools import partial

import nats.errors
import orjson
from nats.aio.msg import Msg

from shared import subjects
from shared.errors import Unavailable
from shared.events import ExecutionRequested, ExecutionRequeued
from shared.jetstream import api
from shared.messages import SEQUENCE, SUBJECT
from shared.tasks import cancel_and_wait, spawn
from tests.support.chaos.fleet import Member
from tests.support.chaos.links import Link
from tests.support.chaos.plan import NATS, POSTGRES, Kind, Trouble
from tests.support.chaos.recorder import Recorder
from tests.support.chaos.site import Site
from tests.support.waiting import until

KILLED_EARLY = 0.1
"""Share of the kills that do not wait until their process has become ready."""
READY_SECONDS = 20.0
AT_ONCE = 5
"""Executions or messages that a trouble of the log is about."""


class Troublemaker:
    """`done` counts what has happened; `wrong` what the log should have refused."""

    def __init__(self, site: Site, recorder: Recorder) -> None:
        self._site = site
        self._recorder = recorder
        self._lasting: set[asyncio.Task[None]] = set()
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def run(self, troubles: Sequence[Trouble]) -> None:
        for trouble in troubles:
            await asyncio.sleep(trouble.pause)
            await self._make(trouble)

    async def heal(self) -> None:
        """Waits until what lasts is over, and nothing is away any more."""
        if self._lasting:
            await asyncio.wait(self._lasting)
        for member in self._site.fleet.members.values():
            member.next_kill_at = ""
            if member.life.kill_at:
                member.kill()
        for member in self._site.fleet.members.values():
            await until(partial(_well, member))

    async def give_up(self) -> None:
        for task in list(self._lasting):
            await cancel_and_wait(task)

    async def _make(self, trouble: Trouble) -> None:
        match trouble.kind:
            case Kind.KILL if trouble.target in (NATS, POSTGRES):
                self._last(self._site.kill_server(trouble.target, trouble.seconds))
            case Kind.KILL:
                await self._kill(trouble)
            case Kind.TERM:
                member = self._site.fleet.members[trouble.target]
                member.next_kill_at = trouble.kill_at
                member.send(signal.SIGTERM)
            case Kind.FREEZE:
                self._last(self._site.fleet.members[trouble.target].freeze(trouble.seconds))
            case Kind.CUT | Kind.HOLD | Kind.SLOW:
                self._on_links(trouble)
            case Kind.NAK | Kind.REPEAT | Kind.COPIES:
                self._last(self._on_log(trouble))
        self.done[trouble.kind] += 1

    def _last(self, what: object) -> None:
        task: asyncio.Task[None] = spawn(what, name="trouble")  # type: ignore[arg-type]
        self._lasting.add(task)
        task.add_done_callback(self._lasting.discard)

    async def _kill(self, trouble: Trouble) -> None:
        """Mostly waits for a process that has work to lose: on a slow machine most would die while they start."""
        member = self._site.fleet.members[trouble.target]
        if trouble.chance > KILLED_EARLY:
            with contextlib.suppress(TimeoutError):
                await until(lambda: member.life.was_ready and member.life.ended is None, READY_SECONDS)

        def killed() -> bool:
            member.away, member.next_kill_at = trouble.seconds, trouble.kill_at
            return member.kill()

        await until(killed)

    def _on_links(self, trouble: Trouble) -> None:
        for link in self._links(trouble.target):
            match trouble.kind:
                case Kind.CUT:
                    link.cut()
                case Kind.HOLD:
                    self._last(link.hold(trouble.seconds))
                case _:
                    self._last(link.slow(trouble.seconds, 0.02 + trouble.chance / 5))

    def _links(self, target: str) -> list[Link]:
        who, _, server = target.partition("/")
        if who == "*":
            return [link for link in self._site.links.values() if link.name.endswith(server)]
        found = (
            self._site.links.get(target) or self._site.links[f"{who}/{NATS}"]
        )  # executors have no database
        return [found]

    # --- messages again, too often, and in another order ------------------------------------------------------------

    async def _on_log(self, trouble: Trouble) -> None:
        rng = random.Random(trouble.chance)
        try:
            match trouble.kind:
                case Kind.NAK:
                    await self._nak(rng)
                case Kind.REPEAT:
                    await self._repeat(rng)
                case _:
                    await self._copies(rng)
        except (Unavailable, nats.errors.Error):
            self.done[f"{trouble.kind} in vain"] += 1

    async def _nak(self, rng: random.Random) -> None:
        """Gives messages of others back to the queue: they are delivered again at once, wherever they run."""
        open_ones = self._recorder.open()
        for key in rng.sample(open_ones, min(AT_ONCE, len(open_ones))):
            requests = [
                recorded
                for recorded in self._recorder.histories[key]
                if isinstance(recorded.event, ExecutionRequested | ExecutionRequeued)
            ]
            event = requests[-1].event
            assert isinstance(event, ExecutionRequested | ExecutionRequeued)
            consumer = subjects.lane_consumer(event.lane)
            info = await api(self._site.nc, f"CONSUMER.INFO.{subjects.EXECUTIONS}.{consumer}", {})
            if "error" in info:
                continue
            delivered = info["delivered"]["consumer_seq"]
            place = f"1.{requests[-1].seq}.{delivered}.1.0"
            await self._site.nc.publish(f"$JS.ACK.{subjects.EXECUTIONS}.{consumer}.{place}", b"-NAK")

    async def _repeat(self, rng: random.Random) -> None:
        """The very same appends once more: the log must take none of them."""
        for msg in self._some(rng):
            headers = {key: value for key, value in (msg.headers or {}).items() if key not in _PLACE}
            answer = await self._site.nc.request(
                (msg.headers or {})[SUBJECT], msg.data, timeout=3.0, headers=headers
            )
            said = orjson.loads(answer.data)
            if "error" not in said and not said.get("duplicate"):
                self.wrong.append(f"the log took a repeated append again: {msg.headers}: {said}")

    async def _copies(self, rng: random.Random) -> None:
        """Signals that were given before, in another order."""
        found = self._some(rng) * 2
        rng.shuffle(found)
        for msg in found:
            subject = f"committed.{(msg.headers or {})[SUBJECT]}"
            await self._site.nc.publish(subject, msg.data, headers=dict(msg.headers or {}))

    def _some(self, rng: random.Random) -> list[Msg]:
        return rng.sample(self._recorder.messages, min(4 * AT_ONCE, len(self._recorder.messages)))


def _well(member: Member) -> bool:
    return not member.life.kill_at and member.life.process.poll() is None


_PLACE = frozenset(
    {SEQUENCE, SUBJECT, "Nats-Time-Stamp", "Nats-Stream", "Nats-Num-Pending", "Nats-Last-Sequence"}
)
