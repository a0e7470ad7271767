"""Who may publish and hear what on NATS: the one table that the local stack and the cluster's file are made from.

A user for each service, for the topology step, and for people who operate. What is not named here is refused. An inbox
is private: answers to a user come under `_INBOX_<user>`, which nobody else hears. No service may create a consumer or
change a stream, so none can have other subjects delivered to it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from shared import subjects
from shared.nats import inbox_prefix
from shared.topology import TopologySettings, consumers, streams

_API = "$JS.API"
_STREAMS = [str(config["name"]) for config in streams(TopologySettings.model_construct())]
_CONSUMERS = [str(config["durable_name"]) for config in consumers(TopologySettings.model_construct())]
_ARTIFACTS = f"OBJ_{subjects.ARTIFACTS}"
_LANES = [subjects.lane_consumer(lane) for lane in subjects.ALL_LANES]
GATEWAY_BROADCASTS = "changed.*"
"""By which gateways tell each other to forget what they remember."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """Subjects that a user may publish to and hear; both may have wildcards. None is all of them."""

    publish: Sequence[str] | None = None
    subscribe: Sequence[str] | None = None
    never_publish: Sequence[str] = ()
    answers: bool = False
    """Whether it may answer the requests that it hears, once each."""


def _events(*kinds: str) -> list[str]:
    return [subjects.event_subject("*", kind) for kind in kinds]


def _read(stream: str) -> list[str]:
    """As the leader has it, and as any replica has it."""
    return [f"{_API}.STREAM.MSG.GET.{stream}", f"{_API}.DIRECT.GET.{stream}", f"{_API}.DIRECT.GET.{stream}.>"]


def _bucket(name: str) -> list[str]:
    return [f"$KV.{name}.>", *_read(f"KV_{name}")]


def _take(*names: str) -> Iterator[str]:
    """To pull from consumers of the log and acknowledge."""
    for name in names:
        yield f"{_API}.CONSUMER.MSG.NEXT.{subjects.EXECUTIONS}.{name}"
        yield f"$JS.ACK.{subjects.EXECUTIONS}.{name}.>"


def _artifacts() -> list[str]:
    """To put and get; the client purges the parts of a put that failed."""
    return [
        f"$O.{subjects.ARTIFACTS}.C.*",
        f"$O.{subjects.ARTIFACTS}.M.*",
        f"{_API}.STREAM.PURGE.{_ARTIFACTS}",
        *_read(_ARTIFACTS),
    ]


def _service(
    user: str, publish: Sequence[str], subscribe: Sequence[str] = (), *, answers: bool = False
) -> Access:
    """What every service does besides: it looks whether the topology is there, sends heartbeats and log lines."""
    common = [
        *(f"{_API}.STREAM.INFO.{name}" for name in _STREAMS),
        *(f"{_API}.CONSUMER.INFO.{subjects.EXECUTIONS}.{name}" for name in _CONSUMERS),
        subjects.worker(user, "*"),
        subjects.logs(user, "*"),
    ]
    return Access(
        publish=[*publish, *common], subscribe=[*subscribe, f"{inbox_prefix(user)}.>"], answers=answers
    )


ACCESS = {
    "gateway": _service(
        "gateway",
        [
            *_events("requested.>", "requeued.>", "stop_requested", "stopped"),
            *_read(subjects.EXECUTIONS),
            *_read(subjects.DELTAS),
            *_read(f"KV_{subjects.WORKERS}"),
            *_bucket(subjects.IDEMPOTENCY),
            *_take(subjects.PROJECTION_CONSUMER),
            *_artifacts(),
            GATEWAY_BROADCASTS,
            subjects.PROVIDER_MODELS,
        ],
        [subjects.committed(), subjects.deltas("*"), GATEWAY_BROADCASTS],
    ),
    "executor": _service(
        "executor",
        [
            *_events(
                "started", "node_started", "node_completed", "released", "completed", "stopped", "failed"
            ),
            *_read(subjects.EXECUTIONS),
            subjects.deltas("*"),
            *_read(subjects.DELTAS),
            f"{_API}.STREAM.PURGE.{subjects.DELTAS}",
            *_read(f"KV_{subjects.WORKERS}"),
            *_bucket(subjects.LIMITS),
            *_take(*_LANES),
            *_artifacts(),
        ],
        [
            *(subjects.committed("*", kind) for kind in ("stop_requested", "stopped", "failed")),
            subjects.PROVIDER_MODELS,
        ],
        answers=True,
    ),
    "analytics": _service(
        "analytics",
        [f"{_API}.STREAM.MSG.GET.{subjects.EXECUTIONS}", *_take(subjects.ANALYTICS_CONSUMER)],
        [subjects.CHANGED_MODELS],
    ),
    "janitor": _service(
        "janitor",
        [
            *_events("requeued.>", "stop_requested", "stopped", "failed", "pruned"),
            *_read(subjects.EXECUTIONS),
            f"{_API}.STREAM.MSG.DELETE.{subjects.EXECUTIONS}",
            *_read(subjects.DELTAS),
            *_read(f"KV_{subjects.WORKERS}"),
            *_bucket(subjects.LEADERS),
            *_artifacts(),
            f"{_API}.STREAM.MSG.DELETE.{_ARTIFACTS}",
        ],
    ),
    "topology": Access(
        publish=[
            *chain.from_iterable(
                (f"{_API}.STREAM.CREATE.{name}", f"{_API}.STREAM.UPDATE.{name}") for name in _STREAMS
            ),
            *(f"{_API}.CONSUMER.DURABLE.CREATE.{subjects.EXECUTIONS}.{name}" for name in _CONSUMERS),
        ],
        subscribe=[f"{inbox_prefix('topology')}.>"],
    ),
    # For people. What is published under `committed` is what the server has stored, and nothing else.
    "operator": Access(never_publish=[f"{subjects.COMMITTED.split('.')[0]}.>"]),
}
