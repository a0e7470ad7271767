"""What is left behind: consumers, sockets, processes, connections, artifacts."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
from nats.js.errors import NotFoundError

from services.janitor.parts import Parts
from services.janitor.policy import Limits, artifacts_of
from services.janitor.sweep import AGE, BUCKET, Sweeper
from shared import events as ev
from shared import subjects
from shared.artifacts import Artifacts
from shared.jetstream import api
from shared.log import ExecutionLog
from shared.topology import TopologySettings, consumers, streams
from tests.support.chaos.evidence import query
from tests.support.chaos.site import MARK, Site

MOST_SECONDS = 300
"""After which the server removes a consumer that its process has left behind."""


async def consumer_faults(site: Site) -> Sequence[str]:
    """Beside those of the topology there may be some that go by themselves."""
    settings = TopologySettings(NATS_URL=site.nats.url)
    wanted = {config["durable_name"] for config in consumers(settings)}
    faults, seen = [], set()
    for stream in streams(settings):
        answer = await api(site.nc, f"CONSUMER.LIST.{stream['name']}", {"offset": 0})
        for consumer in answer.get("consumers", []):
            name, config = consumer["name"], consumer["config"]
            if stream["name"] == subjects.EXECUTIONS and name in wanted:
                seen.add(name)
            elif not 0 < config.get("inactive_threshold", 0) <= MOST_SECONDS * 1_000_000_000:
                faults.append(f"consumer {name} of {stream['name']} stays for ever: {config}")
    return faults + [f"consumer {name} is missing" for name in sorted(wanted - seen)]


async def unsettled(site: Site) -> list[str]:
    """Requests and ends that somebody was given and nobody has acknowledged."""
    found = []
    for config in consumers(TopologySettings(NATS_URL=site.nats.url)):
        name = config["durable_name"]
        info = await api(site.nc, f"CONSUMER.INFO.{subjects.EXECUTIONS}.{name}", {})
        if info["num_pending"] or info["num_ack_pending"]:
            found.append(f"{name}: {info['num_pending']} pending, {info['num_ack_pending']} not acknowledged")
    return found


async def open_calls(site: Site) -> int:
    return int((await site.ask_standin("/admin/ledger/summary"))["open"])


def processes(site: Site) -> list[str]:
    """What still runs of this run, but for the stand-in and the servers; and what a killed service has left behind."""
    found = []
    for process in psutil.process_iter(["pid", "ppid", "cmdline"]):
        command = process.info["cmdline"] or []
        try:
            ours = process.environ().get(MARK) == site.run and process.pid != os.getpid()
        except psutil.Error:
            continue
        # A process that a service starts does not know of the run.
        left = (
            process.info["ppid"] == 1 and command[:1] == [sys.executable] and "services." in " ".join(command)
        )
        if ours or left:
            found.append(" ".join(command))
    return [command for command in found if "standin" not in command]


def sessions(site: Site) -> list[Any]:
    return query(
        site,
        "SELECT usename, application_name, state FROM pg_stat_activity WHERE usename LIKE 'lekhika%' AND pid <> pg_backend_pid()",
    )


async def artifact_names(site: Site) -> list[str]:
    bucket = await site.nc.jetstream().object_store(subjects.ARTIFACTS)
    try:
        return [found.name for found in await bucket.list() if not found.deleted]
    except NotFoundError:
        return []


async def orphans(site: Site, histories: Mapping[str, Sequence[ev.Recorded]]) -> dict[str, list[str]]:
    """Artifacts that no event names, by the end of their execution."""
    named = {ref.artifact for history in histories.values() for ref in artifacts_of(history)}
    found: dict[str, list[str]] = {}
    for name in await artifact_names(site):
        if name not in named:
            history = histories.get(name.partition("/")[0])
            found.setdefault(history[-1].event.type if history else "unknown execution", []).append(name)
    return found


async def stray_chunks(site: Site) -> int:
    """Messages of the bucket that belong to no artifact: a crash in the middle of a put."""
    stream = f"OBJ_{subjects.ARTIFACTS}"
    bucket = await site.nc.jetstream().object_store(subjects.ARTIFACTS)
    try:
        known = {found.nuid for found in await bucket.list() if not found.deleted}
    except NotFoundError:
        known = set()
    answer = await api(site.nc, f"STREAM.INFO.{stream}", {"subjects_filter": f"$O.{subjects.ARTIFACTS}.C.>"})
    counts: Counter[str] = Counter(answer.get("state", {}).get("subjects") or {})
    return sum(count for subject, count in counts.items() if subject.rpartition(".")[2] not in known)


async def left_after_sweeps(site: Site) -> int:
    """Messages in the bucket of artifacts once the janitor has swept it, as it does after an hour, twice."""
    parts = Parts(
        nc=site.nc,
        db=None,  # type: ignore[arg-type]  # a sweep asks the log only
        log=ExecutionLog(site.nc),
        artifacts=Artifacts(site.nc),
        limits=Limits(retention=timedelta()),
    )
    for _ in range(2):  # the second takes away the marks that the first has left
        await Sweeper(parts, may_act=lambda: True).sweep(datetime.now(UTC) + 2 * AGE)
    info = await api(site.nc, f"STREAM.INFO.{BUCKET}", {})
    return int(info["state"]["messages"])


def left_in_log(histories: Mapping[str, Sequence[ev.Recorded]]) -> Iterator[str]:
    for key, history in histories.items():
        if not history or history[-1].event.type != "pruned":
            yield f"{key}: not pruned"
