"""How many calls of each model came in the last minute."""

from collections import deque

_WINDOW_S = 60.0


class Rates:
    """Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._taken: dict[str, deque[float]] = {}

    def over(self, model: str, limit: int, now: float) -> float:
        """0 for a call within the limit, which counts from now on; else seconds until there is room again."""
        taken = self._taken.setdefault(model, deque())
        while taken and taken[0] <= now - _WINDOW_S:
            taken.popleft()
        if len(taken) < limit:
            taken.append(now)
            return 0.0
        return taken[len(taken) - limit] + _WINDOW_S - now

    def clear(self) -> None:
        self._taken.clear()
