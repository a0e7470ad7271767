"""Puts a fault into an answer."""

from dataclasses import dataclass, replace

import orjson

from deploy.local.standin.faults import BLOCKING, Fault
from deploy.local.standin.options import Options
from deploy.local.standin.plan import Plan
from deploy.local.standin.problems import overloaded
from deploy.local.standin.script import Ending, Frame, Framer, Kind, Script
from deploy.local.standin.wire import GEMINI, Dialect, Stamp

_SPENT_THOUGHTS = 64


def build(plan: Plan, stamp: Stamp, options: Options, dialect: Dialect = GEMINI) -> Script:
    """The script of an answer, with the fault that the options ask for.

    Faults that refuse the call or change the words of the plan are dealt with elsewhere.
    """
    framer = Framer(plan, stamp, options, dialect)
    script = Script("".join(plan.pieces), framer.frames())
    at = _break(script.frames, plan, framer, options)
    match options.fault:
        case Fault.CUT | Fault.RESET | Fault.STALL:
            ending = Ending(options.fault.value)
            return replace(script, frames=at.head, ending=ending, ending_pause_ms=at.pause_ms)
        case Fault.STALL_FIRST:
            return replace(script, frames=(), ending=Ending.STALL)
        case Fault.ERROR_IN_STREAM:
            error = Frame(orjson.dumps(dialect.error(overloaded())), at.pause_ms, at.chars, kind=Kind.ERROR)
            return replace(script, frames=(*at.head, error))
        case Fault.BAD_JSON_LINE:
            return _with_line(script, at, b'data: {"candidates": [{"content": {"par\r\n\r\n')
        case Fault.COMMENT_LINE:
            return _with_line(script, at, b": keep-alive\r\n\r\n")
        case _:
            return replace(script, frames=_odd_content(script.frames, at, plan, framer, options))


@dataclass(frozen=True, slots=True)
class _Break:
    """The place of a fault: what comes before it, which never has a finish reason, and after it."""

    head: tuple[Frame, ...]
    tail: tuple[Frame, ...]
    chars: int
    pause_ms: float


def _break(frames: tuple[Frame, ...], plan: Plan, framer: Framer, options: Options) -> _Break:
    texts = len(plan.pieces)
    thoughts = 1 if plan.usage.thoughts else 0
    keep = thoughts + min(texts, texts // 2 if options.after is None else options.after)
    head = frames[:keep]
    if head and keep == len(frames):
        head = _refinished(head, plan, framer, None)
    return _Break(head, frames[keep:], head[-1].chars if head else 0, framer.pause(first=not head))


def _odd_content(
    frames: tuple[Frame, ...], at: _Break, plan: Plan, framer: Framer, options: Options
) -> tuple[Frame, ...]:
    """Complete answers that end early, look empty, or end in an unusual way."""
    match options.fault:
        case Fault.PROMPT_BLOCKED:
            return (framer.blocked(options.reason or "PROHIBITED_CONTENT"),)
        case Fault.UNKNOWN_REASON:
            return _refinished(frames, plan, framer, "A_REASON_FROM_THE_FUTURE")
        case Fault.NO_FINISH:
            return _refinished(frames, plan, framer, None)
        case Fault.EMPTY_LAST:
            last = framer.closing(plan.finish, plan.chars, [{"text": ""}], plan.usage, first=False)
            return (*_refinished(frames, plan, framer, None), last)
        case Fault.EMPTY:
            return (
                framer.closing(
                    options.reason or "STOP", 0, None, replace(plan.usage, candidates=0), first=True
                ),
            )
        case Fault.MAX_TOKENS_THOUGHTS:
            spent = replace(plan.usage, candidates=0, thoughts=options.thoughts or _SPENT_THOUGHTS)
            return (framer.closing("MAX_TOKENS", 0, [], spent, first=True),)
        case fault if fault in BLOCKING:
            usage = plan.usage_at(at.chars)
            last = framer.closing(BLOCKING[fault], at.chars, None, usage, first=not at.head)
            return (*at.head, last)
        case _:
            return frames


def _with_line(script: Script, at: _Break, line: bytes) -> Script:
    """Puts a line that the format does not allow between two chunks."""
    tail = at.tail or (script.frames[-1],)
    head = at.head if at.tail else script.frames[:-1]
    return replace(script, frames=(*head, Frame(line, at.pause_ms, at.chars, kind=Kind.RAW), *tail))


def _refinished(
    frames: tuple[Frame, ...], plan: Plan, framer: Framer, finish: str | None
) -> tuple[Frame, ...]:
    """The frames with another finish reason in the last, or with none."""
    if not plan.pieces:
        return frames[:-1]
    last = framer.text(plan.pieces[-1], plan.chars, finish, first=len(frames) == 1)
    return (*frames[:-1], last)
