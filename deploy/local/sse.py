"""Server-sent events: the wire format, and following one execution over cuts of the connection."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from deploy.local.client import Client, NoAnswer, Refused
from deploy.local.polling import pause

READ_SECONDS = 60.0
GIVE_UP_SECONDS = 60.0
HTTP_SERVER_ERROR = 500


@dataclass(frozen=True, kw_only=True)
class Event:
    id: str | None
    name: str
    data: dict[str, Any]


def parse(lines: Iterable[str]) -> Iterator[Event]:
    """Events of a stream of lines without their ends; comments and unknown fields are passed over."""
    name, last_id, data = "message", None, list[str]()
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "" if line == "" and data:
                yield Event(id=last_id, name=name, data=json.loads("\n".join(data)))
                name, data = "message", []
            case "" if line == "":
                name = "message"
            case "event":
                name = value
            case "id":
                last_id = value
            case "data":
                data.append(value)
            case _:
                continue


def follow(client: Client, execution_id: str) -> Iterator[Event]:
    """Events of an execution up to and with `end`, resumed after each cut from the last id seen.

    Raises Refused at once for a refusal, and NoAnswer when there was nobody to hear for a minute.
    """
    path = f"/v1/executions/{execution_id}/events"
    last_id: str | None = None
    heard = time.monotonic()
    while True:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        try:
            for event in parse(client.lines(path, headers, READ_SECONDS)):
                heard, last_id = time.monotonic(), event.id or last_id
                yield event
                if event.name == "end":
                    return
            problem: Exception = NoAnswer("the stream of events ended too early, again and again")
        except NoAnswer as cut:
            problem = cut
        except Refused as refusal:
            if refusal.status < HTTP_SERVER_ERROR:
                raise
            problem = refusal
        if time.monotonic() - heard > GIVE_UP_SECONDS:
            raise problem
        pause(0.3)
