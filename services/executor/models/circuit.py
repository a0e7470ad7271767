"""Whether a model that was found down may be asked again. One per model and executor. Pure.

After several failures in a row calls wait; then a single one probes, and its outcome decides for all.
"""

from dataclasses import dataclass

FAILURES = 5
"""So many in a row, with no sign of life between, and the model counts as down."""
FIRST_SECONDS = 2.0
LONGEST_SECONDS = 30.0
PROBE_SECONDS = 1.0
"""How often is looked whether a probe that is under way has ended."""
DOWN = frozenset({"overloaded", "provider_unreachable"})
"""Codes of errors that say so, when nothing of an answer came before."""


@dataclass(slots=True)
class Circuit:
    """Times in seconds of any one clock. `reason` is the code of the last failure that counted.

    Every call carries the number that `begin` gave it. What calls say of a time that is over does not count: when a
    model goes down, all that were open then fail, and that is one outage, not many.
    """

    failures: int = 0
    opened: int = 0
    """How often in a row it was found down."""
    until: float = 0.0
    probing: bool = False
    reason: str = ""
    period: int = 0
    """Ends when the model is found down or up, and when a probe begins."""

    @property
    def open(self) -> bool:
        return self.opened > 0

    def wait(self, now: float) -> float:
        """Seconds until it is worth asking again; 0 when a call may go, and `begin` has to follow."""
        if not self.open:
            return 0.0
        if self.probing:
            return max(self.until - now, PROBE_SECONDS)
        return max(0.0, self.until - now)

    def begin(self) -> int:
        """A call goes, while the model is down as the probe. Gives the call's number."""
        if self.open:
            self.probing = True
            self.period += 1
        return self.period

    def lived(self) -> None:
        """The model answers, whenever the call began."""
        if self.open:
            self.period += 1
        self.failures = self.opened = 0
        self.probing = False

    def failed(self, call: int, code: str, now: float, chance: float) -> None:
        """It did not answer this call. `chance`, uniform in [0, 1), spreads the probes of many executors."""
        if call != self.period:
            return
        self.failures += 1
        self.reason = code
        if self.failures < FAILURES:
            return
        pause = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(self.opened, 10))
        self.until = now + pause * (0.5 + chance / 2)
        self.opened += 1
        self.probing = False
        self.period += 1

    def abandoned(self, call: int) -> None:
        """A call ended before it could tell; if it was the probe, another may go."""
        if call == self.period:
            self.probing = False
