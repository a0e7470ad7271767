"""The one exception tree. Retry only what is `Retryable`, and in one place per call."""


class LekhikaError(Exception):
    """Base of every error that this project raises on purpose."""


class Retryable(LekhikaError):
    """The same call may succeed later; nothing was done, or doing it again is harmless."""


class Permanent(LekhikaError):
    """The same call will fail again."""


class Unavailable(Retryable):
    """A server that is needed (NATS, Postgres, the provider) does not answer."""


class Conflict(LekhikaError):
    """A guarded append was refused: somebody else appended first. Reload and decide."""

    def __init__(self, execution_id: str, expected: int) -> None:
        super().__init__(f"execution {execution_id} is no longer at sequence {expected}")
        self.execution_id = execution_id
        self.expected = expected


class LogFull(Retryable):
    """The log refuses appends because it is at its size cap. Nothing was stored."""


class UnknownEvent(Permanent):
    """A stored event has a type, version or body that this release can not read."""
