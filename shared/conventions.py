"""Names of metrics, spans and attributes: each once, with its meaning and unit.

A label never holds an id, a user or a free text; `model_label` bounds the one that people can choose. Gauges that only
some services set have labels, so that a service shows none of them rather than a zero that means nothing.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

# --- metrics -----------------------------------------------------------------------------------------------------

_FAST: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CALL: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
_WAIT: Final = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 1800, 7200)
_STOP: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

HTTP_REQUESTS = Counter(
    "lekhika_http_requests_total",
    "Requests answered. `route` is the template, such as /v1/executions/{id}; `unmatched` when there is none.",
    ["route", "method", "status"],
)
HTTP_SECONDS = Histogram(
    "lekhika_http_request_seconds",
    "From a request to the last byte of its answer; streams (SSE) are left out.",
    ["route", "method"],
    buckets=_FAST,
)

EXECUTIONS_REQUESTED = Counter(
    "lekhika_executions_requested_total", "Executions appended to the log by this gateway."
)
EXECUTIONS_ENDED = Counter(
    "lekhika_executions_ended_total",
    "Ends appended by this process. outcome: completed, stopped, failed; kind: included, payg, mixed, none.",
    ["outcome", "kind"],
)
MODEL_CALLS = Counter(
    "lekhika_model_calls_total",
    "Calls of a model that ended. outcome: ok, cancelled, or a stable error code.",
    ["model", "outcome"],
)
MODEL_FIRST_CHUNK = Histogram(
    "lekhika_model_first_chunk_seconds", "From the call to its first chunk.", ["model"], buckets=_CALL
)
MODEL_SECONDS = Histogram(
    "lekhika_model_call_seconds", "From the call to its end, however it ended.", ["model"], buckets=_CALL
)
TOKENS = Counter(
    "lekhika_tokens_total",
    "Tokens used. type: input (cached included), cached, output, thoughts, tool.",
    ["model", "type"],
)
STOP_SECONDS = Histogram(
    "lekhika_stop_latency_seconds",
    "From the stop's time in the log: phase heard, until the executor knew; phase closed, until the socket was closed.",
    ["phase"],
    buckets=_STOP,
)
APPEND_SECONDS = Histogram("lekhika_append_seconds", "A guarded append, retries included.", buckets=_FAST)
APPEND_CONFLICTS = Counter(
    "lekhika_append_conflicts_total", "Appends refused because somebody else was first."
)
SLOTS = Gauge("lekhika_executor_slots", "Places for executions. state: total, used.", ["state"])
QUEUE_WAIT = Histogram(
    "lekhika_queue_wait_seconds",
    "From the request event to its claim. lane: now, later.",
    ["lane"],
    buckets=_WAIT,
)
LIVE_VIEWERS = Gauge("lekhika_live_viewers", "Event streams (SSE) open now.")
SSE_DROPPED = Counter(
    "lekhika_sse_dropped_total", "Viewers cut because they read too slowly; they can resume."
)
LAG_EVENTS = Gauge(
    "lekhika_lag_events", "Events stored and not yet taken in. reader: projection, analytics.", ["reader"]
)
LAG_SECONDS = Gauge(
    "lekhika_lag_seconds", "Age of the oldest event not yet taken in; 0 when there is none.", ["reader"]
)
POSITION = Gauge("lekhika_position", "Sequence of the log up to which everything is taken in.", ["reader"])
SET_ASIDE = Counter(
    "lekhika_set_aside_total", "Events that could not be taken in and need a person.", ["reader"]
)
PRUNED = Counter("lekhika_pruned_total", "Executions deleted from the log after their time.")
REAPED = Counter(
    "lekhika_reaped_total",
    "Executions that the janitor acted on. action: stopped, failed, requeued, stop_requested.",
    ["action"],
)
LOG_LINES_DROPPED = Counter(
    "lekhika_log_lines_dropped_total",
    "Log lines lost because a buffer was full. target: stdout, stream.",
    ["target"],
)
LOOP_DELAY = Gauge(
    "lekhika_loop_delay_seconds", "Longest lateness of the event loop since the last heartbeat."
)
HEARTBEATS_FAILED = Counter("lekhika_heartbeats_failed_total", "Heartbeats that were not accepted.")
NATS_REFUSED = Counter(
    "lekhika_nats_refused_total", "Publishes and subscriptions that NATS refused: the user may not do that."
)

_MODELS_NAMED: Final = 64
_models: set[str] = set()


def model_label(model: str) -> str:
    """The model's name as a label: the first 64 names of this process as they are, later ones `other`."""
    if model in _models:
        return model
    if len(_models) >= _MODELS_NAMED:
        return "other"
    _models.add(model)
    return model


# --- spans and attributes (OpenTelemetry semantic conventions; the gen_ai ones are not yet stable) -----------------

SERVICE_NAME: Final = "service.name"
SERVICE_INSTANCE: Final = "service.instance.id"
SERVICE_VERSION: Final = "service.version"
ERROR_TYPE: Final = "error.type"

EXECUTION_ID: Final = "lekhika.execution.id"
NODE_ID: Final = "lekhika.node.id"
ATTEMPT: Final = "lekhika.attempt"
ENGINE_ID: Final = "lekhika.engine.id"

GEN_AI_OPERATION: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GENERATE_CONTENT: Final = "generate_content"
GEMINI: Final = "gcp.gemini"

MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_OPERATION_NAME: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_TEMPLATE: Final = "messaging.destination.template"
MESSAGING_DESTINATION: Final = "messaging.destination.name"
NATS: Final = "nats"

_TEMPLATES: Final = {
    "deltas": "deltas.{id}",
    "logs": "logs.{service}.{instance}",
    "commands": "commands.worker.{id}",
}


def subject_template(subject: str) -> str:
    """The subject with ids, lanes and users folded: `executions.{id}.requested`, `deltas.{id}`, ..."""
    tokens = subject.split(".")
    if tokens[0] == "executions" and len(tokens) >= 3:
        return "executions.{id}." + tokens[2]
    if tokens[0] == "committed" and len(tokens) >= 4:
        return "committed.executions.{id}." + tokens[3]
    return _TEMPLATES.get(tokens[0], tokens[0])
