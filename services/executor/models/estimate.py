"""About how many tokens a call will take, before it has begun. Pure."""

from dataclasses import dataclass, field

from services.executor.models.provider import ModelRequest

CHARACTERS = 4
"""Of a prompt's text, for each token."""
ANSWER_TOKENS = 2_000
"""What an answer without `max_tokens` is thought to take, as long as none has been seen."""
WEIGHT = 0.1
"""Of the newest answer in the mean."""


@dataclass(slots=True)
class Estimate:
    """Learns what the answers of each model take, thoughts included."""

    _means: dict[str, float] = field(default_factory=dict)
    """By model: tokens of a call beyond those of its prompt, as that is counted here."""

    def of(self, request: ModelRequest) -> int:
        """All tokens of the call: before the first answer has ended, as many as it may take at most."""
        most = request.max_tokens
        mean = self._means.get(request.model)
        answer = (most or ANSWER_TOKENS) if mean is None else min(mean, most or mean)
        return prompt_tokens(request) + round(answer)

    def learn(self, request: ModelRequest, used: int) -> None:
        """A call that was answered has used so many in all."""
        answer = max(0, used - prompt_tokens(request))
        before = self._means.get(request.model, answer)
        self._means[request.model] = before + WEIGHT * (answer - before)


def prompt_tokens(request: ModelRequest) -> int:
    texts = (request.prompt, request.system or "", request.said, request.then)
    return sum(map(len, texts)) // CHARACTERS
