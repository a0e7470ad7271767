"""Idempotency keys: the first request with a key fixes the execution's id for everybody who sends it again."""

import asyncio
import base64
import hashlib
import time
from dataclasses import dataclass
from typing import Any

import nats.errors
import orjson
from nats.aio.client import Client

from shared.errors import Unavailable
from shared.jetstream import ANSWER_SECONDS, NOT_FOUND, api
from shared.messages import GUARD
from shared.subjects import IDEMPOTENCY

MAX_KEY = 255
TRY_SECONDS = 10.0

_TAKEN = frozenset({10071, 10164})
_IN_FLIGHT = 10158


@dataclass(frozen=True, slots=True)
class Fixed:
    """What a key stands for: the execution's id, and the digest of the body that came with it first."""

    execution_id: str
    digest: str


def is_key(text: str) -> bool:
    """1 to 255 printable ASCII characters."""
    return 0 < len(text) <= MAX_KEY and text.isascii() and text.isprintable()


def digest_of(body: dict[str, Any]) -> str:
    """Of the body as values: order of names and white space do not matter."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


class IdempotencyKeys:
    """The bucket `idempotency`, which forgets an entry after 48 h."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc

    async def find(self, user_id: str, key: str) -> Fixed | None:
        """As the bucket's leader has it. Raises: Unavailable."""
        answer = await api(
            self._nc, f"STREAM.MSG.GET.KV_{IDEMPOTENCY}", {"last_by_subj": _subject(user_id, key)}
        )
        if answer.get("error", {}).get("err_code") == NOT_FOUND:
            return None
        if "error" in answer:
            raise Unavailable(f"the bucket {IDEMPOTENCY}: {answer['error'].get('description')}")
        value = orjson.loads(base64.b64decode(answer["message"]["data"]))
        return Fixed(value["id"], value["digest"])

    async def fix(self, user_id: str, key: str, wanted: Fixed) -> Fixed:
        """The first one to come wins: returns what the key stands for now. Raises: Unavailable."""
        subject, deadline = _subject(user_id, key), time.monotonic() + TRY_SECONDS
        while time.monotonic() < deadline:
            answer = await self._create(
                subject, orjson.dumps({"id": wanted.execution_id, "digest": wanted.digest})
            )
            code = answer.get("error", {}).get("err_code")
            if code in _TAKEN:
                found = await self.find(user_id, key)
                if found is not None:
                    return found
            elif code is None and answer.get("seq"):
                return wanted
            elif code != _IN_FLIGHT:
                raise Unavailable(f"the bucket {IDEMPOTENCY}: {answer}")
            await asyncio.sleep(0.005)
        raise Unavailable(f"the bucket {IDEMPOTENCY} is busy")

    async def _create(self, subject: str, value: bytes) -> dict[str, Any]:
        try:
            answer = await self._nc.request(subject, value, timeout=ANSWER_SECONDS, headers={GUARD: "0"})
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"the bucket {IDEMPOTENCY} does not answer") from error
        parsed: dict[str, Any] = orjson.loads(answer.data)
        return parsed


def _subject(user_id: str, key: str) -> str:
    """A name that the bucket takes, whatever characters the key has."""
    return f"$KV.{IDEMPOTENCY}.{user_id}.{hashlib.sha256(key.encode()).hexdigest()}"
