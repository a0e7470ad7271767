"""Frames a plan: the chunks of an answer, the pauses between them, and how it ends."""

from dataclasses import dataclass
from enum import StrEnum

from deploy.local.standin.faults import Fault
from deploy.local.standin.options import Options, UsageReport
from deploy.local.standin.plan import Plan
from deploy.local.standin.wire import GEMINI, Dialect, Stamp, Usage

_THOUGHT = "**Considering the request**\n\nI look at what is asked for and choose a plain way to say it.\n\n"


class Ending(StrEnum):
    COMPLETE = "complete"
    CUT = "cut"
    RESET = "reset"
    STALL = "stall"


class Kind(StrEnum):
    CHUNK = "chunk"
    ERROR = "error"  # an error body inside of a stream
    RAW = "raw"  # written as it is, without the framing of an event


@dataclass(frozen=True, slots=True)
class Frame:
    """One chunk, the pause before it, and what is true once it is sent.

    `chars` counts the answer's visible characters up to its end; `usage` is what it reports.
    """

    data: bytes
    pause_ms: float
    chars: int
    usage: Usage | None = None
    finish: str | None = None
    kind: Kind = Kind.CHUNK


@dataclass(frozen=True, slots=True)
class Script:
    text: str
    frames: tuple[Frame, ...]
    ending: Ending = Ending.COMPLETE
    ending_pause_ms: float = 0.0

    @property
    def duration_ms(self) -> float:
        return sum(frame.pause_ms for frame in self.frames) + self.ending_pause_ms


class Framer:
    """Makes the frames of one answer."""

    def __init__(self, plan: Plan, stamp: Stamp, options: Options, dialect: Dialect) -> None:
        self._dialect = dialect
        self._plan = plan
        self._stamp = stamp
        self._options = options
        self._report = _report(options)

    def frames(self) -> tuple[Frame, ...]:
        """The whole answer, as it is without faults."""
        frames = [self._thought()] if self._plan.usage.thoughts else []
        chars = 0
        for piece in self._plan.pieces:
            chars += len(piece)
            finish = self._plan.finish if chars == self._plan.chars else None
            frames.append(self.text(piece, chars, finish, first=not frames))
        if not self._plan.pieces:
            frames.append(self.closing(self._plan.finish, 0, [], self._plan.usage, first=not frames))
        return tuple(frames)

    def text(self, piece: str, chars: int, finish: str | None, *, first: bool) -> Frame:
        reported = self._reported(self._plan.usage_at(chars), last=finish is not None)
        data = self._dialect.answer(self._stamp, [{"text": piece}], finish, reported)
        return Frame(data, self.pause(first=first), chars, reported, finish)

    def closing(
        self, finish: str, chars: int, parts: list[dict[str, object]] | None, usage: Usage, *, first: bool
    ) -> Frame:
        """A last chunk without text of its own."""
        reported = self._reported(usage, last=True)
        data = self._dialect.answer(self._stamp, parts, finish, reported)
        return Frame(data, self.pause(first=first), chars, reported, finish)

    def blocked(self, reason: str) -> Frame:
        reported = self._reported(Usage(self._plan.usage.prompt, cached=self._plan.usage.cached), last=True)
        return Frame(
            self._dialect.blocked(self._stamp, reason, reported), self.pause(first=True), 0, reported
        )

    def pause(self, *, first: bool) -> float:
        return self._options.first_ms if first else self._options.chunk_ms

    def _thought(self) -> Frame:
        reported = self._reported(self._plan.usage_at(0), last=False)
        data = self._dialect.answer(self._stamp, [{"text": _THOUGHT, "thought": True}], None, reported)
        return Frame(data, self.pause(first=True), 0, reported)

    def _reported(self, usage: Usage, *, last: bool) -> Usage | None:
        told = self._report is UsageReport.EACH or (last and self._report is UsageReport.LAST)
        return usage if told else None


def whole(script: Script, stamp: Stamp) -> Frame:
    """The same answer in one piece, for calls that do not stream; it takes as long."""
    if not script.frames:
        return Frame(GEMINI.answer(stamp, None, None, None), script.duration_ms, 0)
    last = script.frames[-1]
    if last.chars == 0 or last.kind is Kind.ERROR:
        return Frame(last.data, script.duration_ms, 0, last.usage, last.finish, last.kind)
    data = GEMINI.answer(stamp, [{"text": script.text[: last.chars]}], last.finish, last.usage)
    if any(frame.kind is Kind.RAW and frame.data.startswith(b"data:") for frame in script.frames):
        data = data[: len(data) // 2]
    return Frame(data, script.duration_ms, last.chars, last.usage, last.finish)


def _report(options: Options) -> UsageReport:
    match options.fault:
        case Fault.USAGE_LAST_ONLY:
            return UsageReport.LAST
        case Fault.NO_USAGE:
            return UsageReport.NONE
        case _:
            return options.usage
