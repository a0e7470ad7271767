"""From a NATS message, however it was read, to a `Recorded` event."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from nats.aio.msg import Msg

from shared import subjects
from shared.events import Recorded, decode

GUARD = "Nats-Expected-Last-Subject-Sequence"
GUARD_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
MESSAGE_ID = "Nats-Msg-Id"
SEQUENCE = "Nats-Sequence"
SUBJECT = "Nats-Subject"
TIME = "Nats-Time-Stamp"
TTL = "Nats-TTL"


def parse_time(text: str) -> datetime:
    """RFC 3339 as the server writes it, with nanoseconds, which are cut to microseconds."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{(fraction or '0')[:6].ljust(6, '0')}+00:00")


def _recorded(subject: str, seq: int, time: datetime, headers: Mapping[str, str], data: bytes) -> Recorded:
    return Recorded(
        execution_id=subjects.execution_of(subject),
        event=decode(data),
        seq=seq,
        time=time,
        after=int(headers.get(GUARD, "0")),
        message_id=headers.get(MESSAGE_ID, ""),
    )


def from_copy(msg: Msg) -> Recorded:
    """From a direct get or from the republished copy: place and time are headers.

    Raises: UnknownEvent.
    """
    headers = msg.headers or {}
    return _recorded(
        headers.get(SUBJECT, msg.subject),
        int(headers[SEQUENCE]),
        parse_time(headers[TIME]),
        headers,
        msg.data,
    )


def delivered(msg: Msg) -> tuple[int, datetime]:
    """The place in the stream and the time of a consumer's message, which are in its reply subject."""
    tokens = msg.reply.split(".")
    offset = 2 if len(tokens) > 9 else 0  # newer servers put domain and account hash in front
    seq, nanoseconds = int(tokens[5 + offset]), int(tokens[7 + offset])
    return seq, datetime.fromtimestamp(nanoseconds // 1_000 / 1e6, UTC)


def from_delivery(msg: Msg) -> Recorded:
    """From a consumer's message. Raises: UnknownEvent."""
    seq, time = delivered(msg)
    return _recorded(msg.subject, seq, time, msg.headers or {}, msg.data)


def stored_content(message: Mapping[str, Any]) -> tuple[dict[str, str], bytes]:
    """Headers and data of what the stream's own message get answers."""
    raw = base64.b64decode(message.get("hdrs", "")).decode()
    pairs = (line.split(":", 1) for line in raw.split("\r\n")[1:] if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}, base64.b64decode(message.get("data", ""))


def from_stored(message: Mapping[str, Any]) -> Recorded:
    """From the answer of the stream's own message get, which its leader gives.

    Raises: UnknownEvent.
    """
    headers, data = stored_content(message)
    return _recorded(message["subject"], int(message["seq"]), parse_time(message["time"]), headers, data)
