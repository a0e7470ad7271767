"""The fleet as superadmins see it: every instance of every service, and those that have just gone."""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Response

from services.gateway.auth import Superadmin
from services.gateway.execution_answers import WorkerList
from services.gateway.parts import Parts, get_parts
from shared.heartbeat import read_workers

GONE_SECONDS = 600.0
"""How long a worker that has disappeared is still shown."""

router = APIRouter(tags=["admin"])


class Fleet:
    """Remembers who was there the last times somebody looked. Pure; `now` is a monotonic time in seconds."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, Mapping[str, Any]]] = {}

    def look(self, present: Sequence[Mapping[str, Any]], now: float) -> list[dict[str, Any]]:
        """Those present, then those that went away within the last 10 minutes, as they were last seen."""
        here = {str(worker["id"]) for worker in present}
        self._seen.update({str(worker["id"]): (now, worker) for worker in present})
        self._seen = {key: seen for key, seen in self._seen.items() if now - seen[0] <= GONE_SECONDS}
        gone = [
            {**worker, "state": "gone", "executions": [], "gone_seconds": round(now - seen_at, 1)}
            for key, (seen_at, worker) in self._seen.items()
            if key not in here
        ]
        return [*(dict(worker) for worker in present), *gone]


@router.get("/v1/admin/workers", response_model=WorkerList, summary="Every worker")
async def list_workers(_: Superadmin, parts: Annotated[Parts, Depends(get_parts)]) -> Response:
    workers = parts.fleet.look(await read_workers(parts.nc), time.monotonic())
    body = orjson.dumps({"items": workers, "next_cursor": None})
    return Response(body, 200, {"Cache-Control": "no-store"}, "application/json")
