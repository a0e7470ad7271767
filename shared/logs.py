"""Structured logs: one JSON object a line, made, stamped and cleaned of secrets where the call is.

`structlog`, the standard `logging`, warnings and uncaught exceptions all end in the same line. Fields: timestamp
(RFC 3339, UTC, microseconds), level, service, instance, message, execution_id and trace_id where there is one, then
the call's own. A log call neither blocks nor raises: lines wait in bounded buffers, and what does not fit is counted.
"""

import atexit
import logging
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import orjson
import structlog
from structlog.typing import FilteringBoundLogger

from shared.redaction import redact
from shared.stdout import NonBlockingOutput
from shared.telemetry import current_trace_id

EARLY_LINES = 1_000
MAX_TEXT = 16_000
"""Characters of one text in a line; longer ones keep their head and their tail."""
_QUIET = (
    "uvicorn",
    "httpx",
    "httpcore",
    "httpx2",
    "httpcore2",
    "google_genai",
    "openai",
    "asyncio",
    "nats",
    "urllib3",
)

Sink = Callable[[bytes], None]
"""Takes a finished line without its newline. Must neither block nor raise."""

_execution: ContextVar[str | None] = ContextVar("execution_id", default=None)


@contextmanager
def bind_execution(execution_id: str) -> Iterator[None]:
    """Lines of this block, and of tasks started in it, carry the execution's id."""
    token = _execution.set(execution_id)
    try:
        yield
    finally:
        _execution.reset(token)


def get_logger(name: str) -> FilteringBoundLogger:
    """`log.info("took work", attempt=2)`: a message that stays the same, and fields that vary."""
    logger: FilteringBoundLogger = structlog.get_logger(logger_name=name)
    return logger


class LineMaker:
    """Turns events into lines and hands each to the sinks: standard output, and another once it is there.

    Until then the newest thousand lines are kept for it, so that a service's start is not missing from its history.
    """

    def __init__(self, service: str, instance: str, output: Sink) -> None:
        self._origin = {"service": service, "instance": instance}
        self._early: deque[bytes] = deque(maxlen=EARLY_LINES)
        self._output = output
        self._second: Sink = self._early.append

    def attach(self, sink: Sink) -> None:
        """From now on every line also goes to `sink`, beginning with those that were kept."""
        while self._early:
            sink(self._early.popleft())
        self._second = sink

    def detach(self) -> None:
        self._second = self._early.append

    def emit(self, level: str, message: str, created: float | None, fields: MutableMapping[str, Any]) -> None:
        """`created` is the event's time in seconds since the epoch; None is now."""
        line = self.line(level, message, created, fields)
        self._output(line)
        self._second(line)

    def line(
        self, level: str, message: str, created: float | None, fields: MutableMapping[str, Any]
    ) -> bytes:
        when = datetime.now(UTC) if created is None else datetime.fromtimestamp(created, UTC)
        entry: dict[str, Any] = {
            "timestamp": when.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": level,
            **self._origin,
            "message": _cut(message),
        }
        execution_id = fields.pop("execution_id", None) or _execution.get()
        if execution_id is not None:
            entry["execution_id"] = execution_id
        trace_id = current_trace_id()
        if trace_id is not None:
            entry["trace_id"] = trace_id
        for key, value in fields.items():  # an own field never hides one of the above
            own = f"field_{key}" if key in entry else key
            entry[own] = _cut(value) if isinstance(value, str) else value
        return redact(_dumps(entry))


def _cut(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]} [... {len(text) - MAX_TEXT} characters ...] {text[-half:]}"


def _dumps(entry: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(entry, default=_safe_text, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError, RecursionError):
        # Half a surrogate, a huge number, a value that contains itself.
        texts = {key: _safe_text(value).encode(errors="replace").decode() for key, value in entry.items()}
        return orjson.dumps(texts)


def _safe_text(value: object) -> str:
    try:
        return _cut(str(value))
    except Exception as error:  # noqa: BLE001 - somebody's __str__, and a log call must not raise
        return f"<{type(value).__name__} without text: {type(error).__name__}>"


def _exception_text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()


class _FromStructlog:
    """Last processor: emits the line and drops the event, so that structlog prints nothing itself."""

    def __init__(self, maker: LineMaker) -> None:
        self._maker = maker

    def __call__(
        self, logger: object, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        message = _safe_text(event.pop("event", ""))
        info = event.pop("exc_info", None)
        error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
        if isinstance(error, BaseException):
            event["exception"] = _exception_text(error)
        self._maker.emit("error" if method == "exception" else method, message, None, event)
        raise structlog.DropEvent


class _FromLogging(logging.Handler):
    """Root handler of the standard `logging`."""

    def __init__(self, maker: LineMaker) -> None:
        super().__init__()
        self._maker = maker

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # arguments that do not fit their format
            message = f"{record.msg} {record.args!r}"
        fields: dict[str, Any] = {"logger_name": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            fields["exception"] = _exception_text(record.exc_info[1])
        self._maker.emit(record.levelname.lower(), message, record.created, fields)


def setup(service: str, instance: str, level: str = "info", *, output: Sink | None = None) -> LineMaker:
    """Sends everything that this process says through one `LineMaker`. Call it once, before anything else.

    `output` takes the place of standard output.
    """
    numeric = logging.getLevelNamesMapping()[level.upper()]
    maker = LineMaker(service, instance, output or _standard_output())
    structlog.configure(
        processors=[_FromStructlog(maker)],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_FromLogging(maker)], level=numeric, force=True)
    logging.captureWarnings(capture=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(numeric, logging.WARNING))
    _catch_uncaught()
    return maker


def _standard_output() -> Sink:
    output = NonBlockingOutput(sys.stdout.fileno())
    atexit.register(output.drain)
    return output.write


def _catch_uncaught() -> None:
    log = logging.getLogger("uncaught")

    def main_thread(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        log.critical("uncaught %s", kind.__name__, exc_info=(kind, error, trace))

    def other_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            where = args.thread.name if args.thread else "?"
            log.critical("uncaught %s in thread %s", args.exc_type.__name__, where, exc_info=args.exc_value)

    def nowhere(args: "sys.UnraisableHookArgs") -> None:
        log.error("%s: %r", args.err_msg or "exception ignored in", args.object, exc_info=args.exc_value)

    sys.excepthook = main_thread
    threading.excepthook = other_thread
    sys.unraisablehook = nowhere
