"""What the calls of one node have led to, and what its next call asks. Pure.

A node takes one call when all goes well; more when a call fails, when an answer breaks its schema (once), and when a
truncated answer is to be continued.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from services.executor.models.answer import Accepted
from services.executor.models.provider import ModelError, ModelRequest
from services.executor.retry import Room, next_delay

CONTINUATIONS = 5
"""At most so many calls go on with an answer that was cut."""
FALLBACK_AFTER = 3
"""So many failures in a row, and the fallback model is asked."""
FALLBACK_SECONDS = 30.0
"""A provider that says to wait longer is not waited for, if there is a fallback."""

GO_ON = (
    "Your answer was cut at its length limit. Go on exactly where it ends: repeat nothing of it, add no introduction, "
    "and keep its form."
)
CORRECT = (
    "Your answer can not be used: {error}\nAnswer again, with nothing but JSON that follows the schema, without a "
    "code fence."
)


@dataclass(slots=True, kw_only=True)
class Tries:
    """`asked` is the node's request as it stands in the workflow."""

    asked: ModelRequest
    fallback: str | None = None
    continue_truncated: bool = False
    said: str = ""
    """Text of truncated answers, which the next call goes on with."""
    failures: int = 0
    """In a row, of the same request to the same model."""
    continuations: int = 0
    broken: tuple[str, str] | None = None
    """An answer that did not follow the schema, and why."""
    _model: str | None = None
    """The fallback, while it is asked."""
    _useless: bool = False
    """Whether the node's own model can not be of use at all."""

    @property
    def request(self) -> ModelRequest:
        """Of the next call."""
        request = replace(self.asked, model=self._model or self.asked.model)
        if self.said:
            # Without the schema: whoever is bound to it can only begin a whole answer anew.
            return replace(request, said=self.said, then=GO_ON, output_schema=None)
        if self.broken is not None:
            return replace(request, said=self.broken[0], then=CORRECT.format(error=self.broken[1]))
        return request

    def may_go_on(self, text: str) -> bool:
        """Whether an answer with this text will be continued if it was cut."""
        more = text != self.said  # a call that adds nothing would be followed by others like it
        return self.continue_truncated and self.continuations < CONTINUATIONS and more

    def goes_on(self, accepted: Accepted) -> bool:
        """Takes an answer. True when another call is to continue it."""
        if not (accepted.truncated and self.may_go_on(accepted.text)):
            return False
        self.said, self.failures = accepted.text, 0
        self.continuations += 1
        return True

    def kept(self, schema_fault: str | None) -> Accepted | None:
        """The answer as it was before it was to be continued, if it is usable as it is. `schema_fault` is that of `said`."""
        if not self.said or schema_fault is not None:
            return None
        return Accepted(text=self.said, truncated=True)

    def failed(
        self, error: ModelError, text: str, chance: float, room: Room, down: Callable[[str], bool]
    ) -> float:
        """Takes a failed call with the text of its answer; gives the seconds to wait before the next.

        `down` tells of a model whether it does not answer at present. Raises: the error, when there is no use in another
        call.
        """
        self.failures += 1
        if error.code == "schema_mismatch":
            return self._corrected(error, text)
        if self._falls_back(error, room, down):
            return 0.0
        delay = next_delay(error, self.failures, chance, room)
        if delay is None:
            raise error
        return delay

    def _corrected(self, error: ModelError, text: str) -> float:
        if self.broken is not None:
            raise error
        self.broken = (text, error.message)
        self.said, self.failures = "", 0
        return 0.0

    def choose(self, down: Callable[[str], bool]) -> None:
        """Before a call: of a model that is down turns to the other one, if that is not; also back from the fallback."""
        other = self._other
        if other is not None and down(self.request.model) and not down(other):
            self._turn()

    @property
    def _other(self) -> str | None:
        """Of the node's own model and the fallback the one that is not asked at present, if it may be."""
        if self._model is not None:
            return None if self._useless else self.asked.model
        return self.fallback if self.fallback != self.asked.model else None

    def _turn(self) -> None:
        self._model = self.fallback if self._model is None else None
        self.failures = 0

    def _falls_back(self, error: ModelError, room: Room, down: Callable[[str], bool]) -> bool:
        other = self._other
        if self._model is not None or other is None:
            return False
        useless = not error.retryable and error.code in ("model_not_found", "quota")
        long = (error.delay or 0.0) > min(FALLBACK_SECONDS, room.seconds)
        away = error.retryable and (self.failures >= FALLBACK_AFTER or long)
        if not useless and (not away or down(other)):
            return False
        self._useless = useless
        self._turn()
        return True
