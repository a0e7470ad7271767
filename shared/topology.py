"""Streams, consumers and buckets: created and updated by one idempotent step that runs before the services.

`python -m shared.topology`. Services bind to what is here and fail loudly when it is missing.
"""

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

from nats.aio.client import Client
from pydantic import Field, FilePath
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared import subjects
from shared.errors import LekhikaError, Permanent
from shared.events import TERMINAL_TYPES
from shared.jetstream import api
from shared.log import MAX_EVENT_BYTES
from shared.nats import connect

_SECOND = 1_000_000_000
_EXISTS = 10058
_NOT_FOUND = (10059, 10014)


class TopologySettings(BaseSettings):
    """Sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="LEKHIKA_", use_attribute_docstrings=True)

    nats_url: str = Field(validation_alias="NATS_URL")
    """Of the user `topology`, or of another that may manage JetStream."""
    nats_ca_file: FilePath | None = None
    """With `tls://`: PEM file of the authority that signed the servers' certificates."""
    replicas: int = 1
    """1 on one machine, 3 in a cluster."""
    executions_max_bytes: int = 8 << 30
    """At this size the log refuses new requests (503); nothing is lost."""
    deltas_max_bytes: int = 256 << 20
    """At this size the oldest pieces of live text go."""
    logs_max_bytes: int = 512 << 20
    """At this size the oldest log lines go."""
    artifacts_max_bytes: int = 8 << 30
    """At this size no more large texts are taken."""
    ack_wait_seconds: float = 6.0
    """After this long without progress a message goes to another executor."""


def streams(s: TopologySettings) -> Iterator[dict[str, Any]]:
    """The configuration of every stream, also those under the buckets."""
    common = {"num_replicas": s.replicas, "retention": "limits", "allow_direct": True}
    yield {
        **common,
        "name": subjects.EXECUTIONS,
        "subjects": [subjects.ALL_EXECUTIONS],
        "storage": "file",
        "discard": "new",
        "max_bytes": s.executions_max_bytes,
        "max_msg_size": MAX_EVENT_BYTES,
        "max_consumers": 1_000,
        "duplicate_window": 60 * _SECOND,
        "allow_msg_ttl": True,
        "republish": {"src": subjects.ALL_EXECUTIONS, "dest": f"{subjects.COMMITTED}.>"},
    }
    yield {
        **common,
        "name": subjects.DELTAS,
        "subjects": [subjects.deltas("*")],
        "storage": "file",  # a single server forgets a memory stream altogether when it restarts
        "num_replicas": 1,
        "discard": "old",
        "max_age": 15 * 60 * _SECOND,
        "max_bytes": s.deltas_max_bytes,
        "max_consumers": 100_000,
        "duplicate_window": _SECOND,
    }
    yield {
        **common,
        "name": subjects.LOGS,
        "subjects": [subjects.logs("*", "*")],
        "storage": "file",
        "discard": "old",
        "max_age": 3 * 24 * 3600 * _SECOND,
        "max_bytes": s.logs_max_bytes,
        "duplicate_window": 30 * _SECOND,
    }
    yield {
        **common,
        "name": f"OBJ_{subjects.ARTIFACTS}",
        "subjects": [f"$O.{subjects.ARTIFACTS}.C.>", f"$O.{subjects.ARTIFACTS}.M.>"],
        "storage": "file",
        "discard": "new",
        "max_bytes": s.artifacts_max_bytes,
        "allow_rollup_hdrs": True,
    }
    yield _bucket(subjects.IDEMPOTENCY, s.replicas, age=48 * 3600)
    yield _bucket(subjects.WORKERS, s.replicas, age=subjects.HEARTBEAT_TTL_SECONDS, markers=True)
    yield _bucket(subjects.LIMITS, s.replicas, age=3600)
    yield _bucket(subjects.LEADERS, s.replicas, age=10, markers=True)


def _bucket(name: str, replicas: int, *, age: float, markers: bool = False) -> dict[str, Any]:
    """A key-value bucket's stream. With `markers` the expiry of a key is an event that watchers see."""
    config: dict[str, Any] = {
        "name": f"KV_{name}",
        "subjects": [f"$KV.{name}.>"],
        "storage": "file",
        "num_replicas": replicas,
        "max_msgs_per_subject": 1,
        "max_age": int(age * _SECOND),
        "duplicate_window": int(min(age, 120) * _SECOND),
        "discard": "new",
        "deny_delete": True,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
    }
    if markers:
        config |= {"allow_msg_ttl": True, "subject_delete_marker_ttl": 60 * _SECOND}
    return config


def consumers(s: TopologySettings) -> Iterator[dict[str, Any]]:
    """Durable consumers of EXECUTIONS: one for each lane, the projection, and analytics."""
    for lane in subjects.ALL_LANES:
        yield {
            "durable_name": subjects.lane_consumer(lane),
            "ack_policy": "explicit",
            "ack_wait": int(s.ack_wait_seconds * _SECOND),
            "max_ack_pending": 20_000,
            "max_waiting": 4_096,
            "filter_subjects": subjects.lane_filters(lane),
        }
    yield {
        "durable_name": subjects.PROJECTION_CONSUMER,
        "ack_policy": "explicit",
        "ack_wait": 30 * _SECOND,
        "max_ack_pending": 10_000,
        "filter_subject": subjects.ALL_EXECUTIONS,
    }
    yield {
        "durable_name": subjects.ANALYTICS_CONSUMER,
        "ack_policy": "explicit",
        "ack_wait": 60 * _SECOND,
        "max_ack_pending": 50_000,
        "filter_subjects": [f"executions.*.{kind}" for kind in TERMINAL_TYPES],
    }


async def ensure(nc: Client, settings: TopologySettings) -> None:
    """Creates what is missing and updates what differs.

    Raises: Permanent, when the server refuses a configuration.
    """
    for config in streams(settings):
        answer = await api(nc, f"STREAM.CREATE.{config['name']}", config)
        if _code(answer) == _EXISTS:
            answer = await api(nc, f"STREAM.UPDATE.{config['name']}", config)
        _check(answer, f"stream {config['name']}")
    for config in consumers(settings):
        name = config["durable_name"]
        body = {
            "stream_name": subjects.EXECUTIONS,
            "config": {"deliver_policy": "all", "replay_policy": "instant", **config},
        }
        answer = await api(nc, f"CONSUMER.DURABLE.CREATE.{subjects.EXECUTIONS}.{name}", body)
        _check(answer, f"consumer {name}")


async def missing(nc: Client) -> list[str]:
    """Names of streams, buckets and consumers that are not there; empty when services may start."""
    settings = TopologySettings.model_construct()
    wanted = {config["name"]: f"STREAM.INFO.{config['name']}" for config in streams(settings)}
    for config in consumers(settings):
        name = config["durable_name"]
        wanted[f"consumer {name}"] = f"CONSUMER.INFO.{subjects.EXECUTIONS}.{name}"
    return [name for name, subject in wanted.items() if _code(await api(nc, subject, {})) in _NOT_FOUND]


def _code(answer: dict[str, Any]) -> int | None:
    code: int | None = answer.get("error", {}).get("err_code")
    return code


def _check(answer: dict[str, Any], what: str) -> None:
    if "error" in answer:
        raise Permanent(f"NATS refuses {what}: {answer['error'].get('description')}")


async def main() -> None:
    settings = TopologySettings()
    nc = await connect(settings.nats_url, "topology", ca_file=settings.nats_ca_file)
    try:
        await ensure(nc, settings)
    finally:
        await nc.close()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except LekhikaError as error:
        sys.exit(f"topology: {error}")
