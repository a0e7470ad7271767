"""The open executions of every user: which lane a request goes to, who is promoted, who waits at which place. Pure.

`now` is a monotonic time in seconds, `seq` the sequence of the event that tells it; of what was heard late, because
copies of different kinds of events overtake each other, only the newest counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain, zip_longest

from services.gateway.waiting_line import Key, WaitingLine
from shared import subjects

PROMOTE_AFTER = 1.0
"""Seconds that an execution waits before it is promoted: what is taken at once needs no second place in a queue."""
EARLY = 20_000
"""Of so many executions that nothing else is known of it is remembered that they were started, or ended."""
NOW_WINDOW = 60.0
"""Seconds of waiting whose starts tell the pace of the lane `now`."""
USER_WINDOW = 900.0
"""Seconds of waiting whose ends tell the pace of a user's own executions."""
FRONT, BACK = 0, 1
"""Ranks in a user's line: handed back or in `now`; and in `later`."""
GONE = -1
AT_ONCE = -1.0
"""Since when that waits which comes before all others."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a queued execution stands. In `now` among everybody's, in `later` among those of its own user."""

    ahead: int
    seconds: float | None
    """Until it starts, estimated from the recent pace; None while there is none."""


@dataclass(slots=True)
class _Open:
    user_id: str
    lane: str
    key: Key | None = None
    """Its place in the lines while it is queued."""
    heard_at: float = 0.0
    seq: int = 0
    runs: bool = False


@dataclass(slots=True)
class _User:
    line: WaitingLine = field(default_factory=lambda: WaitingLine(USER_WINDOW))
    open: int = 0


class Outstanding:
    """Of each user the first `per_user` open executions go to `now`."""

    def __init__(self, per_user: int) -> None:
        self.per_user = per_user
        self._open: dict[str, _Open] = {}
        self._users: dict[str, _User] = {}
        self._behind: dict[str, None] = {}
        """Users with somebody in `later`, those whose turn was longest ago first."""
        self._now_line = WaitingLine(NOW_WINDOW)
        self._early: dict[str, int] = {}
        """Sequence of a start, or GONE."""

    def __len__(self) -> int:
        return len(self._open)

    def knows(self, execution_id: str) -> bool:
        """Whether it is open, or was heard to have ended."""
        return execution_id in self._open or self._early.get(execution_id) == GONE

    def runs(self, execution_id: str, user_id: str | None) -> bool:
        """Whether it was heard to run, and is this user's if one is given."""
        item = self._open.get(execution_id)
        return item is not None and item.runs and user_id in (None, item.user_id)

    def reserve(self, execution_id: str, user_id: str, now: float) -> str:
        """The lane for a new request, which counts from here on."""
        user = self._users.get(user_id)
        few = user is None or user.open < self.per_user
        lane = subjects.NOW if few else subjects.later_lane(user_id)
        self.queued(execution_id, user_id, lane, now)
        return lane

    def found(self, execution_id: str, user_id: str, lane: str, now: float, *, runs: bool) -> None:
        """It was open before anything was heard: it stands before all that has come since, and tells no pace."""
        if self.knows(execution_id):
            return
        early = self._early.pop(execution_id, 0)
        item = self._open[execution_id] = _Open(user_id, lane, seq=early, runs=runs or early > 0)
        self._users.setdefault(user_id, _User()).open += 1
        if not item.runs:
            self._stand(execution_id, item, lane, now, since=0.0)
        item.heard_at = 0.0

    def queued(self, execution_id: str, user_id: str, lane: str, now: float, seq: int = 0) -> None:
        """It was put into a lane, for the first time or again."""
        item = self._open.get(execution_id)
        if item is None:
            early = self._early.pop(execution_id, 0)
            if early == GONE:
                self._early[execution_id] = GONE
                return
            item = self._open[execution_id] = _Open(user_id, lane)
            self._users.setdefault(user_id, _User()).open += 1
            if early > seq:
                item.seq, item.runs = early, True
                return
        elif 0 < seq < item.seq or (item.key is not None and item.lane == lane):
            item.seq = max(item.seq, seq)  # the copy of what is known: it keeps its place
            return
        item.seq = max(item.seq, seq)
        self._stand(execution_id, item, lane, now, since=now)

    def released(self, execution_id: str, now: float, seq: int = 0) -> None:
        """Handed back: its message is delivered again before all others of its lane."""
        item = self._open.get(execution_id)
        if item is not None and seq >= item.seq:
            item.seq = seq
            self._stand(execution_id, item, item.lane, now, since=AT_ONCE)

    def started(self, execution_id: str, now: float, seq: int = 0) -> None:
        """An executor runs it: from whatever lane, it waits no more."""
        item = self._open.get(execution_id)
        if item is None:
            self._remember(execution_id, seq)
        elif seq == 0 or seq >= item.seq:
            item.seq, item.runs, item.heard_at = max(seq, item.seq), True, now
            if item.lane == subjects.NOW and item.key is not None:
                self._now_line.moved(now)
            self._leave(item, now)

    def set_aside(self, execution_id: str, now: float) -> None:
        """It is being promoted, or can not be: it is not tried again."""
        item = self._open.get(execution_id)
        if item is not None:
            item.heard_at = now
            self._leave(item, now)

    def gone(self, execution_id: str, now: float) -> None:
        """It has ended."""
        self._drop(execution_id, now)
        self._remember(execution_id, GONE)

    def withdraw(self, execution_id: str, now: float) -> None:
        """It was not stored, as far as is known; a copy that was heard knows better."""
        item = self._open.get(execution_id)
        if item is not None and item.seq == 0:
            self._drop(execution_id, now)

    def _drop(self, execution_id: str, now: float) -> None:
        item = self._open.pop(execution_id, None)
        if item is not None:
            self._leave(item, now)
            user = self._users[item.user_id]
            user.open -= 1
            if item.runs:
                user.line.moved(now)
            if user.open == 0:
                del self._users[item.user_id]

    def _remember(self, execution_id: str, what: int) -> None:
        self._early.pop(execution_id, None)
        self._early[execution_id] = what
        if len(self._early) > EARLY:
            del self._early[next(iter(self._early))]

    def _stand(self, execution_id: str, item: _Open, lane: str, now: float, *, since: float) -> None:
        self._leave(item, now)
        back = lane != subjects.NOW and since != AT_ONCE
        key = (BACK if back else FRONT, since, execution_id)
        item.lane, item.key, item.heard_at, item.runs = lane, key, now, False
        self._users[item.user_id].line.add(key, now)
        if lane == subjects.NOW:
            self._now_line.add(key, now)
        if back:
            self._behind.setdefault(item.user_id, None)

    def _leave(self, item: _Open, now: float) -> None:
        if item.key is None:
            return
        line = self._users[item.user_id].line
        line.remove(item.key, now)
        if item.lane == subjects.NOW:
            self._now_line.remove(item.key, now)
        item.key = None
        if not line.count(BACK):
            self._behind.pop(item.user_id, None)

    def place(self, execution_id: str, now: float) -> Place | None:
        """None for one that is not known to be queued."""
        item = self._open.get(execution_id)
        if item is None or item.key is None:
            return None
        line = self._now_line if item.lane == subjects.NOW else self._users[item.user_id].line
        ahead = line.ahead(item.key)
        return Place(ahead, line.seconds(ahead + 1, now))

    def promotable(self, now: float, most: int) -> list[str]:
        """For each user with room in `now` the executions that have waited longest; at most `most`, in turns."""
        rows: list[list[str]] = []
        for user_id in self._behind:
            if len(rows) == most:
                break
            user = self._users[user_id]
            room = self.per_user - (user.open - user.line.count(BACK))
            first = user.line.first(BACK, max(0, room))
            if row := [key for _, since, key in first if now - since >= PROMOTE_AFTER]:
                rows.append(row)
        turns = chain.from_iterable(zip_longest(*rows))
        found = [key for key in turns if key is not None][:most]
        for key in found:
            user_id = self._open[key].user_id
            self._behind[user_id] = self._behind.pop(user_id)
        return found

    def unheard(self, before: float, most: int) -> list[str]:
        """Executions of which nothing was heard since `before`, the longest silent first, that are not in `later`."""
        quiet = [
            (item.heard_at, key)
            for key, item in self._open.items()
            if item.heard_at < before and (item.key is None or item.key[0] == FRONT)
        ]
        return [key for _, key in sorted(quiet)[:most]]

    def verified(self, execution_ids: Iterable[str], now: float) -> None:
        for key in execution_ids:
            if key in self._open:
                self._open[key].heard_at = now
