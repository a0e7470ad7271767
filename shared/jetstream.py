"""Requests to JetStream that the client library has no call for."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError, NoRespondersError, OutboundBufferLimitError
from nats.errors import TimeoutError as NatsTimeoutError

from shared.errors import Unavailable
from shared.messages import SEQUENCE

ANSWER_SECONDS = 3.0
NOT_FOUND = 10037
"""Error code of a message get that finds nothing."""
FULL = frozenset({10077, 10122, 10023, 10047})
"""Error codes of a stream that takes nothing more."""

_PARTS = 256
"""So many messages are asked for at once."""

_SILENT = (NatsTimeoutError, NoRespondersError, ConnectionClosedError, OutboundBufferLimitError)


async def api(
    nc: Client, subject: str, body: Mapping[str, Any], seconds: float = ANSWER_SECONDS
) -> dict[str, Any]:
    """The answer of `$JS.API.<subject>`, errors of the server included as its `error`.

    Raises: Unavailable, when it does not answer.
    """
    try:
        answer = await nc.request(f"$JS.API.{subject}", json.dumps(body).encode(), timeout=seconds)
    except _SILENT as error:
        raise Unavailable(
            f"JetStream does not answer {subject.split('.')[0]}: {type(error).__name__}"
        ) from error
    parsed: dict[str, Any] = json.loads(answer.data)
    return parsed


async def direct_request(nc: Client, stream: str, request: Mapping[str, Any]) -> Msg | None:
    """One message of a direct get; None when there is none. A follower may answer, and lag.

    Raises: Unavailable.
    """
    subject = f"$JS.API.DIRECT.GET.{stream}"
    try:
        answer = await nc.request(subject, json.dumps(request).encode(), timeout=ANSWER_SECONDS)
    except _SILENT as error:
        raise Unavailable(f"reading {stream} was not answered") from error
    status = (answer.headers or {}).get("Status")
    if status == "404":
        return None
    if status is not None:
        raise Unavailable(f"reading {stream} was answered {status}")
    return answer


async def direct_get(nc: Client, stream: str, request: Mapping[str, Any]) -> AsyncIterator[Msg]:
    """Messages of a batched direct get, up to the server's end mark. A follower may answer, and lag.

    Raises: Unavailable.
    """
    inbox = nc.new_inbox()
    subscription = await nc.subscribe(inbox)
    try:
        await nc.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(request).encode(), reply=inbox)
        while True:
            msg = await subscription.next_msg(timeout=ANSWER_SECONDS)
            status = (msg.headers or {}).get("Status")
            if status in ("204", "404"):
                return
            if status is not None:
                raise Unavailable(f"reading {stream} was answered {status}")
            yield msg
    except _SILENT as error:
        raise Unavailable(f"reading {stream} was not answered") from error
    finally:
        if not nc.is_closed:
            await subscription.unsubscribe()


async def read_whole(nc: Client, stream: str, subject: str, size: int) -> bytes:
    """The contents of a subject's messages in order, up to `size` bytes; less, when its leader has no more.

    Direct gets give what a replica has; what one that lags does not have yet, the leader is asked for.

    Raises: Unavailable.
    """
    whole, after = bytearray(), 0
    while len(whole) < size:
        before = after
        request = {"seq": after + 1, "next_by_subj": subject, "batch": _PARTS}
        async for msg in direct_get(nc, stream, request):
            whole += msg.data
            after = int((msg.headers or {})[SEQUENCE])
        if after > before:
            continue
        answer = await api(nc, f"STREAM.MSG.GET.{stream}", {"seq": after + 1, "next_by_subj": subject})
        if answer.get("error", {}).get("err_code") == NOT_FOUND:
            break
        if "error" in answer:
            raise Unavailable(f"reading {stream} failed: {answer['error'].get('description')}")
        whole += base64.b64decode(answer["message"].get("data", ""))
        after = int(answer["message"]["seq"])
    return bytes(whole)
