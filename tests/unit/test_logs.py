"""One JSON object a line from whatever speaks, without secrets, and never an error or a wait for the caller."""

import json
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from shared import conventions as names
from shared import logs, telemetry
from shared.redaction import redact
from shared.stdout import MAX_WAITING, NonBlockingOutput

Lines = list[dict[str, Any]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What was logged, parsed; the process's own logging is put back afterwards."""
    root, hooks = logging.getLogger(), (sys.excepthook, sys.unraisablehook)
    before = (root.handlers[:], root.level)
    found: Lines = []
    logs.setup("gateway", "instance-1", output=lambda line: found.append(json.loads(line)))
    yield found
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = before
    sys.excepthook, sys.unraisablehook = hooks
    structlog.reset_defaults()


def test_the_fields_of_a_line(lines: Lines) -> None:
    with logs.bind_execution("execution-1"):
        logs.get_logger("runner").info("took work", attempt=2)
    logs.get_logger("runner").warning("no execution here")

    first, second = lines
    stamp = first.pop("timestamp")
    assert stamp.endswith("Z")
    assert len(stamp) == len("2026-11-23T18:40:56.852469Z")
    assert first == {
        "level": "info",
        "service": "gateway",
        "instance": "instance-1",
        "message": "took work",
        "execution_id": "execution-1",
        "logger_name": "runner",
        "attempt": 2,
    }
    assert "execution_id" not in second


def test_a_line_inside_a_span_carries_its_trace(lines: Lines) -> None:
    context = telemetry.extract({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    with telemetry.within(context):
        logging.getLogger("lib").warning("inside")
    assert lines[0]["trace_id"] == "a" * 32


def test_libraries_and_warnings_speak_the_same_way(lines: Lines) -> None:
    logging.getLogger("lib").warning("took %d ms", 3)
    ours = next(
        handler for handler in logging.getLogger().handlers if type(handler).__module__ == "shared.logs"
    )
    ours.handle(logging.LogRecord("lib", logging.WARNING, "f", 1, "%d is not a number", ("this",), None))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    assert lines[0]["message"] == "took 3 ms"
    assert "is not a number" in lines[1]["message"]
    assert "DeprecationWarning: old" in lines[2]["message"]


def test_a_line_is_stamped_when_it_was_made(lines: Lines) -> None:
    record = logging.LogRecord("lib", logging.ERROR, "f", 1, "late", None, None)
    record.created = 0.25
    logging.getLogger().handle(record)
    assert lines[0]["timestamp"] == "1970-01-01T00:00:00.250000Z"


def test_exceptions_come_with_their_traceback_and_without_secrets(lines: Lines) -> None:
    try:
        raise ValueError("postgresql://me:hunter2@db/x refused")
    except ValueError:
        logs.get_logger("store").exception("can not connect")
        logging.getLogger("lib").exception("can not connect")

    for line in lines:
        assert line["level"] == "error"
        assert "ValueError" in line["exception"]
        assert "hunter2" not in json.dumps(line)


def test_a_field_hides_none_of_the_fixed_ones(lines: Lines) -> None:
    logs.get_logger("x").info("mine", service="other", timestamp="never")
    assert lines[0]["service"] == "gateway"
    assert lines[0]["field_service"] == "other"


def test_below_the_level_nothing_is_said(lines: Lines) -> None:
    logs.get_logger("x").debug("quiet")
    logging.getLogger("x").debug("quiet")
    logging.getLogger("httpx").info("GET ...")
    assert not lines


class Nasty:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_no_value_makes_a_log_call_raise(lines: Lines) -> None:
    circle: list[object] = []
    circle.append(circle)
    for value in (Nasty(), circle, 1 << 100, "\ud800", {1: {2}}, b"\xff", float("nan")):
        logs.get_logger("x").info("value", value=value)
    logs.get_logger("x").info(Nasty())  # type: ignore[arg-type]
    assert len(lines) == 8


def test_a_very_long_text_keeps_its_head_and_its_tail(lines: Lines) -> None:
    logs.get_logger("x").info("long", text="a" + "b" * 1_000_000 + "c")
    text = lines[0]["text"]
    assert len(text) < logs.MAX_TEXT + 100
    assert (text[0], text[-1]) == ("a", "c")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("key lk_abcdef0123456789 was used", "abcdef0123456789"),
        ("first line\nlk_abcdef0123456789", "abcdef0123456789"),
        ("AIzaSyA-0123456789_0123456789", "SyA-0123456789"),
        ("GET https://host/v1/models?key=AQ.Ab8RN6&alt=sse", "AQ.Ab8RN6"),
        ("nats://user:pa$$w0rd@host:4222,nats://b:second@c", "pa$$w0rd"),
        ("nats://user:pa$$w0rd@host:4222,nats://b:second@c", "second"),
        ("nats://justatoken@host", "justatoken"),
        ("postgresql+psycopg://me:p%40ss@/db", "p%40ss"),
        ("host=h password=hunter2 dbname=d", "hunter2"),
        ('header "Authorization: Bearer abc.def" was sent', "abc.def"),
        ('password=a\\b"', "a\\\\b"),
    ],
)
def test_secrets_are_taken_out_and_the_line_still_parses(text: str, secret: str) -> None:
    cleaned = redact(json.dumps({"message": text}).encode())
    assert secret not in cleaned.decode()
    assert "[redacted]" in json.loads(cleaned)["message"]


def test_fields_with_a_telling_name_are_emptied() -> None:
    cleaned = json.loads(redact(json.dumps({"api_key": 'a"b', "db_password": "x", "tokens": "12"}).encode()))
    assert cleaned == {"api_key": "[redacted]", "db_password": "[redacted]", "tokens": "12"}


@pytest.mark.parametrize(
    "text", ["bulk_operation_done", "http://127.0.0.1:8080/a@b", "lk_", "asset: 3", "a@b.c"]
)
def test_ordinary_text_stays(text: str) -> None:
    line = json.dumps({"message": text}).encode()
    assert redact(line) == line


def dropped(target: str) -> float:
    value = names.LOG_LINES_DROPPED.labels(target)._value.get()
    assert isinstance(value, float)
    return value


def test_a_reader_that_does_not_read_never_holds_up_the_writer() -> None:
    read_end, write_end = os.pipe()
    output, before = NonBlockingOutput(write_end), dropped("stdout")
    line = b"x" * 1023
    began = time.monotonic()
    for _ in range(MAX_WAITING + 500):
        output.write(line)
    assert time.monotonic() - began < 5
    lost = dropped("stdout") - before
    assert 0 < lost < 500

    received = bytearray()
    while not received.endswith(b"last\n"):
        received += os.read(read_end, 1 << 16)
        output.write(b"last") if b"last" not in received and len(output._lines) < 10 else output.pump()
    assert received.count(line + b"\n") == MAX_WAITING + 500 - lost
    os.close(read_end)
    output.write(b"nobody hears this")
    os.close(write_end)


def test_a_slow_reader_still_gets_the_last_line_of_a_process() -> None:
    code = (
        "from shared import logs; logs.setup('janitor', 'i'); log = logs.get_logger('x')\n"
        "for n in range(2000): log.info('x' * 5000, n=n)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        numbers = [json.loads(line)["n"] for line in process.stdout]
    assert numbers == list(range(2000))
    assert process.returncode == 0


def test_what_nobody_caught_is_logged_before_the_process_ends() -> None:
    code = "from shared import logs; logs.setup('janitor', 'i'); raise ValueError('lk_0123456789abcdef')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    line = json.loads(done.stdout)
    assert done.returncode == 1
    assert done.stderr == ""
    assert (line["level"], line["message"]) == ("critical", "uncaught ValueError")
    assert "lk_[redacted]" in line["exception"]
