"""What happened on the wire, call by call: the truth that tests compare with."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from deploy.local.standin.wire import Usage

_PROMPT_KEPT = 2_000
_TOKEN_KINDS = ("input", "cached", "output", "thoughts", "tool", "total")


class ClosedBy(StrEnum):
    OPEN = "open"
    SERVER = "server"
    CLIENT = "client"
    CLIENT_RESET = "client_reset"


@dataclass(slots=True, eq=False)
class Entry:
    """One call. `sent` grows with every chunk that was written before a close was noticed.

    Times are nanoseconds since the epoch. `text` is the whole text that the answer would have had;
    the first `chars` characters of it were sent.
    """

    _ledger: "Ledger"
    _epoch: int
    seq: int
    id: str
    received_ns: int
    model: str = ""
    model_version: str = ""
    method: str = ""
    stream: bool = False
    api_key_tail: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body_digest: str = ""
    body_size: int = 0
    prompt: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    status: int | None = None
    chunks_sent: int = 0
    text: str = ""
    chars: int = 0
    usage: Usage | None = None
    finish_reason: str | None = None
    first_chunk_ns: int | None = None
    closed_ns: int | None = None
    closed_by: ClosedBy = ClosedBy.OPEN

    def keep_prompt(self, prompt: str) -> None:
        self.prompt = prompt[:_PROMPT_KEPT]

    def sent(self, now_ns: int, chars: int, usage: Usage | None, finish: str | None) -> None:
        """A chunk was written."""
        if self.first_chunk_ns is None:
            self.first_chunk_ns = now_ns
            self._ledger.note_streaming(self._epoch)
        self.chunks_sent += 1
        self.chars = chars
        self.usage = usage or self.usage
        self.finish_reason = finish or self.finish_reason

    def close(self, by: ClosedBy, now_ns: int) -> None:
        """The first close counts; later ones are ignored."""
        if self.closed_ns is None:
            self.closed_ns = now_ns
            self.closed_by = by
            self._ledger.note_closed(self, self._epoch)

    def tokens(self) -> dict[str, int]:
        """Counts of the last usage on the wire; all zero if none was reported. `input` includes `cached`."""
        usage = self.usage
        if usage is None:
            return dict.fromkeys(_TOKEN_KINDS, 0)
        counts = (usage.prompt, usage.cached, usage.candidates, usage.thoughts, usage.tool, usage.total)
        return dict(zip(_TOKEN_KINDS, counts, strict=True))

    def row(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "seq": self.seq,
            "received_at": rfc3339(self.received_ns),
            "received_ns": self.received_ns,
            "model": self.model,
            "model_version": self.model_version,
            "method": self.method,
            "stream": self.stream,
            "api_key_tail": self.api_key_tail,
            "headers": self.headers,
            "body_digest": self.body_digest,
            "body_size": self.body_size,
            "prompt": self.prompt,
            "options": self.options,
            "status": self.status,
            "chunks_sent": self.chunks_sent,
            "text_sent": self.text[: self.chars],
            "usage": None if self.usage is None else self.usage.wire(),
            "tokens": self.tokens(),
            "finish_reason": self.finish_reason,
            "first_chunk_at": rfc3339(self.first_chunk_ns),
            "first_chunk_ns": self.first_chunk_ns,
            "closed_at": rfc3339(self.closed_ns),
            "closed_ns": self.closed_ns,
            "closed_by": self.closed_by.value,
            "duration_ms": None if self.closed_ns is None else (self.closed_ns - self.received_ns) / 1e6,
        }


class Ledger:
    """Keeps the latest `capacity` entries; its sums also cover those that were dropped."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._seq = 0
        self._epoch = 0
        self._changed = asyncio.Event()
        self._reset()

    def _reset(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._seqs: dict[str, int] = {}
        self._oldest = self._seq + 1
        self._received = self._closed = self._streaming = 0
        self._by_model: dict[str, Counter[str]] = {}
        self._by_closer: Counter[str] = Counter()

    def open(self, identity: str, received_ns: int) -> Entry:
        self._seq += 1
        entry = Entry(self, self._epoch, self._seq, identity, received_ns)
        self._entries[entry.seq] = entry
        self._seqs[identity] = entry.seq
        self._received += 1
        if len(self._entries) > self._capacity:
            dropped = self._entries.pop(self._oldest)
            self._seqs.pop(dropped.id, None)
            self._oldest += 1
        self._notify()
        return entry

    def note_streaming(self, epoch: int) -> None:
        if epoch == self._epoch:
            self._streaming += 1
            self._notify()

    def note_closed(self, entry: Entry, epoch: int) -> None:
        if epoch != self._epoch:
            return  # the ledger was cleared while this call was open
        self._closed += 1
        self._by_closer[entry.closed_by.value] += 1
        sums = self._by_model.setdefault(entry.model_version or entry.model, Counter())
        sums.update(entry.tokens())
        sums["calls"] += 1
        self._notify()

    def clear(self) -> None:
        self._epoch += 1
        self._reset()
        self._notify()

    def find(self, identity: str) -> Entry | None:
        seq = self._seqs.get(identity)
        return None if seq is None else self._entries[seq]

    def after(self, seq: int, limit: int, contains: str = "") -> Iterator[Entry]:
        """Up to `limit` entries above `seq`, oldest first, whose kept prompt contains a text."""
        for number in range(max(seq + 1, self._oldest), self._seq + 1):
            if limit <= 0:
                return
            entry = self._entries[number]
            if contains in entry.prompt:
                limit -= 1
                yield entry

    def counts(self, contains: str = "") -> dict[str, int]:
        """`streaming`: calls that sent a first chunk, whether they ended since or not.

        With a text only calls count whose kept prompt contains it, and that are still in the ledger.
        """
        if not contains:
            return {"calls": self._received, "closed": self._closed, "streaming": self._streaming}
        found = [entry for entry in self._entries.values() if contains in entry.prompt]
        return {
            "calls": len(found),
            "closed": sum(entry.closed_ns is not None for entry in found),
            "streaming": sum(entry.first_chunk_ns is not None for entry in found),
        }

    def summary(self) -> dict[str, Any]:
        """Sums since the last clearing. Tokens are those of closed calls, by the model that answered."""
        return {
            **self.counts(),
            "open": self._received - self._closed,
            "last_seq": self._seq,
            "closed_by": dict(self._by_closer),
            "by_model": {name: dict(sums) for name, sums in self._by_model.items()},
        }

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, wanted: dict[str, int], timeout_s: float, contains: str = "") -> bool:
        """True as soon as every count is at least as high as wanted, false after the time-out."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    counts = self.counts(contains)
                    if all(counts[name] >= number for name, number in wanted.items()):
                        break
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True


def rfc3339(ns: int | None) -> str | None:
    if ns is None:
        return None
    seconds, rest = divmod(ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
