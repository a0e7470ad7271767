"""The users: they start executions over HTTP, repeat what was not answered with the same key, and stop some."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx

from tests.support.chaos.plan import Plan, Request
from tests.support.chaos.site import Site
from tests.support.gateway import Person
from tests.support.waiting import until

AGAIN_SECONDS = 0.2
ANSWER_SECONDS = 15.0
PATIENCE_SECONDS = 180.0
AT_ONCE = 40


@dataclass(slots=True)
class Asked:
    """What came of one request of the plan. `ids`: of every answer to it, repeats included."""

    request: Request
    ids: set[str] = field(default_factory=set)
    stop_answers: list[tuple[int, str]] = field(default_factory=list)
    """HTTP status, and the status of the execution in it."""
    tries: int = 0

    @property
    def execution_id(self) -> str | None:
        return next(iter(self.ids), None)


class People:
    """`wrong` are answers that nobody should ever get; `answers` counts all of them."""

    def __init__(self, site: Site, plan: Plan, progress: Callable[[], float]) -> None:
        self._site = site
        self._plan = plan
        self._progress = progress
        self._rng = random.Random(plan.settings.seed + 1)
        self.asked: dict[str, Asked] = {request.key: Asked(request) for request in plan.requests}
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def run(self) -> None:
        """Starts everything in the order of the plan, in pace with its kills."""
        room = asyncio.Semaphore(AT_ONCE)
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=20)
        async with (
            httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS, limits=limits) as http,
            asyncio.TaskGroup() as group,
        ):
            for request in self._plan.requests:
                await until(partial(self._due, request), None)
                await room.acquire()
                task = group.create_task(self._one(http, self.asked[request.key]))
                task.add_done_callback(lambda _: room.release())

    def _due(self, request: Request) -> bool:
        return self._progress() >= request.when

    async def _one(self, http: httpx.AsyncClient, asked: Asked) -> None:
        await self._start(http, asked)
        stop = asked.request.stop
        if stop is None or asked.execution_id is None:
            return
        await asyncio.sleep(stop.after)
        async with asyncio.TaskGroup() as group:
            for _ in range(2 if stop.twice else 1):
                group.create_task(self._stop(http, asked))

    async def _start(self, http: httpx.AsyncClient, asked: Asked) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            asked.tries += 1
            answer = await self._send(
                http, self._person(asked), *start_of(asked.request), key=asked.request.key
            )
            if answer is not None and answer.status_code in (200, 202):
                asked.ids.add(str(answer.json()["id"]))
                return
            if answer is not None and answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                self.wrong.append(
                    f"{asked.request.key}: start was answered {answer.status_code} {answer.text[:300]}"
                )
                return
            if not asked.request.patient:
                return
            if time.monotonic() > deadline:
                self.wrong.append(f"{asked.request.key}: no answer to its start in {PATIENCE_SECONDS:.0f} s")
                return
            await asyncio.sleep(AGAIN_SECONDS)

    async def _stop(self, http: httpx.AsyncClient, asked: Asked) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        assert asked.request.stop is not None
        force = asked.request.stop.force
        path, body = f"/v1/executions/{asked.execution_id}/stop", {"reason": "chaos"}
        if force:
            path = f"/v1/admin/executions/{asked.execution_id}/force-stop"
        who = self._site.root if force else self._person(asked)
        while time.monotonic() < deadline:
            answer = await self._send(http, who, path, body)
            if answer is not None and answer.status_code in (200, 202):
                asked.stop_answers.append((answer.status_code, str(answer.json()["status"])))
                return
            if answer is not None and answer.status_code == httpx.codes.GONE:
                return
            if answer is not None and answer.status_code not in (409, 503):
                self.wrong.append(
                    f"{asked.execution_id}: stop was answered {answer.status_code} {answer.text[:300]}"
                )
                return
            await asyncio.sleep(AGAIN_SECONDS)
        self.wrong.append(f"{asked.execution_id}: no answer to its stop in {PATIENCE_SECONDS:.0f} s")

    async def _send(
        self, http: httpx.AsyncClient, who: Person, path: str, body: dict[str, Any], key: str | None = None
    ) -> httpx.Response | None:
        """At one gateway or the other; None when no answer came."""
        member = self._rng.choice(self._site.fleet.of("gateway"))
        headers = {**who.headers, **({"Idempotency-Key": key} if key else {})}
        try:
            answer = await http.post(member.url + path, json=body, headers=headers)
        except httpx.TransportError as error:
            self.answers[type(error).__name__] += 1
            return None
        self.answers[str(answer.status_code)] += 1
        return answer

    def _person(self, asked: Asked) -> Person:
        return self._site.people[asked.request.user]

    async def repeat_everything(self) -> None:
        """Once more each request that has an answer, with its key: it must name the same execution."""
        async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS) as http:
            for asked in self.asked.values():
                if asked.ids:
                    answer = await self._send(
                        http, self._person(asked), *start_of(asked.request), key=asked.request.key
                    )
                    if answer is None or answer.status_code not in (200, 410):
                        self.wrong.append(
                            f"{asked.request.key}: its repeat was answered {answer and answer.text}"
                        )
                    elif answer.status_code == httpx.codes.OK:
                        asked.ids.add(str(answer.json()["id"]))


def start_of(request: Request) -> tuple[str, dict[str, Any]]:
    given = {"mark": request.key, "options": request.options}
    body: dict[str, Any] = {"engine": request.engine, "input": given}
    if request.engine == "text":
        body["input"] = {"mark": request.key}
    return "/v1/executions", body | ({"limits": dict(request.limits)} if request.limits else {})
