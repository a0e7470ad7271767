"""Names of subjects, streams and buckets. Nobody else spells one out."""

import zlib

EXECUTIONS = "EXECUTIONS"
DELTAS = "DELTAS"
LOGS = "LOGS"
ARTIFACTS = "artifacts"
IDEMPOTENCY = "idempotency"
WORKERS = "workers"
LEADERS = "leaders"
LIMITS = "limits"
"""Up to when each model's calls are given away, by model."""
HEARTBEAT_TTL_SECONDS = 6
"""After it an entry of the bucket `workers` that is not renewed disappears."""

NOW = "now"
PARTITIONS = 16

ALL_EXECUTIONS = "executions.>"
COMMITTED = "committed.executions"
REQUEST_TYPES = ("requested", "requeued")


def partition_of(user_id: str) -> int:
    """The partition, 0 to 15, that a user's waiting requests lie in; the same in every process."""
    return zlib.crc32(user_id.encode()) % PARTITIONS


def later_lane(user_id: str) -> str:
    return f"later.{partition_of(user_id)}"


def event_subject(
    execution_id: str, event_type: str, lane: str | None = None, user_id: str | None = None
) -> str:
    """Subject of an event; request events carry lane and user, so that consumers can filter on them."""
    if lane is not None and user_id is not None:
        return f"executions.{execution_id}.{event_type}.{lane}.{user_id}"
    return f"executions.{execution_id}.{event_type}"


def aggregate(execution_id: str) -> str:
    """The wildcard over one execution's events. Also the guard's string: every writer uses exactly this one."""
    return f"executions.{execution_id}.>"


def execution_of(subject: str) -> str:
    """The execution id in a subject of the log, of its republished copy, or of the deltas."""
    tokens = subject.split(".")
    return tokens[2] if tokens[0] == "committed" else tokens[1]


def user_of(subject: str) -> str:
    """The user id in the subject of a request event."""
    return subject.rpartition(".")[2]


def committed(execution_id: str = "*", event_type: str = ">") -> str:
    """Where stored events are republished."""
    return f"{COMMITTED}.{execution_id}.{event_type}"


def deltas(execution_id: str) -> str:
    return f"deltas.{execution_id}"


def logs(service: str, instance: str) -> str:
    return f"logs.{service}.{instance}"


CHANGED_MODELS = "changed.models"
"""Core NATS subject, without a body: models or their prices were changed."""


def worker(service: str, instance: str) -> str:
    """Key of an instance's heartbeat in the bucket `workers`, as a subject; so that a service can write only its own."""
    return f"$KV.{WORKERS}.{service}.{instance}"


PROVIDER_MODELS = "providers.models"
"""Core NATS request without a body, answered by one executor: `shared.model_listing.ModelListing`."""
EXECUTORS = "executors"
"""The queue group in which one of the executors gets a request."""


def lane_consumer(lane: str) -> str:
    """Durable consumer of a lane: `now`, or `later-<p>`."""
    return lane.replace(".", "-")


def lane_filters(lane: str) -> list[str]:
    return [f"executions.*.{kind}.{lane}.*" for kind in REQUEST_TYPES]


ALL_LANES = (NOW, *(f"later.{p}" for p in range(PARTITIONS)))
PROJECTION_CONSUMER = "projection"
ANALYTICS_CONSUMER = "analytics"
