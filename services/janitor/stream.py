"""Requests to JetStream that only the janitor makes: marks of consumers, single messages, exact deletes."""

from collections.abc import Mapping
from typing import Any

from nats.aio.client import Client

from shared import subjects
from shared.errors import Permanent, Unavailable
from shared.jetstream import NOT_FOUND, api

_NO_CONSUMER = 10014
_NOT_THERE = frozenset({NOT_FOUND, 10043})
_DELETE_FAILED = 10057
_GONE = ("no message found", "stream store EOF")


async def consumer(nc: Client, name: str) -> dict[str, Any]:
    """State of a consumer of EXECUTIONS. Raises: Unavailable; Permanent, when there is none of that name."""
    answer = await api(nc, f"CONSUMER.INFO.{subjects.EXECUTIONS}.{name}", {})
    code = answer.get("error", {}).get("err_code")
    if code == _NO_CONSUMER:
        raise Permanent(f"the consumer {name} is missing: the topology was not created")
    if code is not None:
        raise Unavailable(f"the consumer {name} can not be asked: {answer['error'].get('description')}")
    return answer


def acknowledged(info: Mapping[str, Any]) -> int:
    """The sequence up to which everything is acknowledged."""
    floor = int(info["ack_floor"]["stream_seq"])
    return max(floor, int(info["delivered"]["stream_seq"])) if info["num_ack_pending"] == 0 else floor


async def exists(nc: Client, seq: int) -> bool:
    """Whether EXECUTIONS holds a message of this sequence, as its leader has it. Raises: Unavailable."""
    answer = await api(nc, f"STREAM.MSG.GET.{subjects.EXECUTIONS}", {"seq": seq})
    if "error" in answer and answer["error"].get("err_code") not in _NOT_THERE:
        raise Unavailable(f"message {seq} can not be asked for: {answer['error'].get('description')}")
    return "error" not in answer


async def delete(nc: Client, seq: int, stream: str = subjects.EXECUTIONS) -> None:
    """Deletes one message of a stream; does nothing when it is gone already. Raises: Unavailable."""
    answer = await api(nc, f"STREAM.MSG.DELETE.{stream}", {"seq": seq, "no_erase": True})
    error = answer.get("error")
    if error is None or error.get("err_code") in _NOT_THERE:
        return
    if error.get("err_code") == _DELETE_FAILED and error.get("description") in _GONE:
        return
    raise Unavailable(f"message {seq} could not be deleted: {error.get('description')}")
