"""The ways in which an answer can be made to go wrong."""

from collections import OrderedDict
from enum import StrEnum


class Fault(StrEnum):
    NONE = "none"  # switches off a fault that was set as a default

    # Valid answers that end early or look empty.
    PROMPT_BLOCKED = "prompt_blocked"
    SAFETY = "safety"
    RECITATION = "recitation"
    LANGUAGE = "language"
    BLOCKLIST = "blocklist"
    PROHIBITED_CONTENT = "prohibited_content"
    SPII = "spii"
    UNKNOWN_REASON = "unknown_reason"
    MAX_TOKENS = "max_tokens"
    MAX_TOKENS_THOUGHTS = "max_tokens_thoughts"
    EMPTY = "empty"
    EMPTY_LAST = "empty_last"

    # Broken transport.
    NO_FINISH = "no_finish"
    CUT = "cut"
    RESET = "reset"
    STALL = "stall"
    STALL_FIRST = "stall_first"

    # Broken content.
    ERROR_IN_STREAM = "error_in_stream"
    BAD_JSON_LINE = "bad_json_line"
    COMMENT_LINE = "comment_line"
    BROKEN_SCHEMA = "broken_schema"
    TRUNCATED_JSON = "truncated_json"

    # Refusals.
    STATUS_400 = "status_400"
    STATUS_401 = "status_401"
    STATUS_403 = "status_403"
    STATUS_404 = "status_404"
    STATUS_408 = "status_408"
    STATUS_429 = "status_429"
    STATUS_500 = "status_500"
    STATUS_502 = "status_502"
    STATUS_503 = "status_503"
    STATUS_504 = "status_504"

    # How usage is reported.
    USAGE_LAST_ONLY = "usage_last_only"
    NO_USAGE = "no_usage"

    @property
    def status(self) -> int | None:
        """The HTTP status of a refusal, None for any other fault."""
        kind, _, code = self.value.partition("_")
        return int(code) if kind == "status" else None


BLOCKING = {
    Fault.SAFETY: "SAFETY",
    Fault.RECITATION: "RECITATION",
    Fault.LANGUAGE: "LANGUAGE",
    Fault.BLOCKLIST: "BLOCKLIST",
    Fault.PROHIBITED_CONTENT: "PROHIBITED_CONTENT",
    Fault.SPII: "SPII",
}
"""Faults that end an answer after some of its text, with their `finishReason`."""


class Strikes:
    """Counts how often a fault has happened, by the `id` of the calls; remembers the latest 10,000 ids."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, int] = OrderedDict()

    def strikes(self, key: str, times: int) -> bool:
        """Counts one call; true for the first `times` calls with this key."""
        seen = self._counts.pop(key, 0)
        self._counts[key] = seen + 1
        if len(self._counts) > 10_000:
            self._counts.popitem(last=False)
        return seen < times

    def clear(self) -> None:
        self._counts.clear()
