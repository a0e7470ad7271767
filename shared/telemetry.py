"""Traces: set-up by the standard variables, context in message headers, and the spans that are written by hand.

A span costs 6 to 15 microseconds while nothing is exported: it has ids, which logs and headers carry, and records
nothing.
"""

import asyncio
import functools
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from shared import conventions as names

FLUSH_MILLISECONDS = 3_000
_PROPAGATOR = TraceContextTextMapPropagator()


def setup(
    service: str, instance: str, version: str, *, exporter: SpanExporter | None = None
) -> TracerProvider:
    """Sets the process's tracer provider, once; call `shutdown` with it at the end.

    Spans go to `exporter`, else by OTLP over HTTP when OTEL_EXPORTER_OTLP_ENDPOINT (or its traces variant) is set or
    OTEL_TRACES_EXPORTER is otlp, else nowhere. OTEL_SDK_DISABLED=true turns tracing off, trace ids included.
    """
    resource = Resource.create(
        {names.SERVICE_NAME: service, names.SERVICE_INSTANCE: instance, names.SERVICE_VERSION: version}
    )
    exporter = exporter or _exporter_from_environment()
    if exporter is None:
        provider = TracerProvider(resource=resource, sampler=ALWAYS_OFF, shutdown_on_exit=False)
    else:
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider


def _exporter_from_environment() -> SpanExporter | None:
    chosen = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    endpoint = any(os.environ.get(f"OTEL_EXPORTER_OTLP_{part}ENDPOINT") for part in ("", "TRACES_"))
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or chosen not in ("", "otlp") or not (chosen or endpoint):
        return None
    # Here, because a process that exports nothing should not pay 10 MB for it.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


async def shutdown(provider: TracerProvider, milliseconds: int = FLUSH_MILLISECONDS) -> None:
    """Sends what is left, for at most that long; a collector that does not answer holds up nothing else."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def flush() -> None:
        provider.force_flush(milliseconds)
        provider.shutdown()
        with suppress(RuntimeError):  # too late: the loop is closed
            loop.call_soon_threadsafe(done.set)

    # A daemon of its own: the loop's executor would be waited for at the end of the process, without a bound.
    threading.Thread(target=flush, name="trace flush", daemon=True).start()
    with suppress(TimeoutError):  # these spans are lost, which the exporter's own log line says
        async with asyncio.timeout(milliseconds / 1000):
            await done.wait()


@functools.cache
def tracer() -> Tracer:
    return trace.get_tracer("lekhika")


def inject(headers: dict[str, str]) -> dict[str, str]:
    """Adds the current trace context (`traceparent`) to the headers, in place, and returns them."""
    _PROPAGATOR.inject(headers)
    return headers


def extract(headers: Mapping[str, str] | None) -> Context:
    """The trace context that the headers carry; an empty one when there is none or it is malformed."""
    return _PROPAGATOR.extract(headers, Context()) if headers else Context()


def current_trace_id() -> str | None:
    """32 hex digits, or None outside any span."""
    found = trace.get_current_span().get_span_context()
    return f"{found.trace_id:032x}" if found.is_valid else None


@contextmanager
def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, AttributeValue] | None = None,
    parent: Context | None = None,
) -> Iterator[Span]:
    """A span around a block, which it ends with. An error or a cancellation is named in `error.type`.

    Enter and leave it in the same task. `name` has no ids in it.
    """
    # As `start_as_current_span` does, without its second context manager and its record of the exception.
    current = tracer().start_span(name, parent, kind, attributes)
    token = otel_context.attach(trace.set_span_in_context(current))
    try:
        yield current
    except BaseException as error:
        _name_error(current, error)
        raise
    finally:
        otel_context.detach(token)
        current.end()


def _name_error(current: Span, error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError):
        current.set_attribute(names.ERROR_TYPE, "cancelled")  # asked for: not a failure
        return
    current.set_attribute(names.ERROR_TYPE, type(error).__qualname__)
    # The text of an error is left to the logs, which take secrets out.
    current.set_status(Status(StatusCode.ERROR))


def gen_ai_span(
    model: str, *, system: str = names.GEMINI, attributes: Mapping[str, AttributeValue] | None = None
) -> AbstractContextManager[Span]:
    """The span of one call of a model of the provider `system`; `record_answer` adds what came back, also of a cancelled call."""
    given: dict[str, AttributeValue] = {
        names.GEN_AI_OPERATION: names.GENERATE_CONTENT,
        names.GEN_AI_PROVIDER: system,
        names.GEN_AI_REQUEST_MODEL: model,
        **(attributes or {}),
    }
    return span(f"{names.GENERATE_CONTENT} {model}", kind=SpanKind.CLIENT, attributes=given)


def record_answer(
    current: Span,
    *,
    model: str | None = None,
    response_id: str | None = None,
    finish_reasons: Sequence[str] = (),
    input_tokens: int | None = None,
    output_tokens: int | None = None,
) -> None:
    """What is known of a model's answer; None is unknown. Input includes cached tokens, output includes thoughts."""
    known: dict[str, AttributeValue | None] = {
        names.GEN_AI_RESPONSE_MODEL: model,
        names.GEN_AI_RESPONSE_ID: response_id,
        names.GEN_AI_FINISH_REASONS: tuple(finish_reasons) or None,
        names.GEN_AI_INPUT_TOKENS: input_tokens,
        names.GEN_AI_OUTPUT_TOKENS: output_tokens,
    }
    current.set_attributes({key: value for key, value in known.items() if value is not None})


@contextmanager
def publish_span(subject: str) -> Iterator[dict[str, str]]:
    """The span of one publish; gives the headers, with the trace context, to send along."""
    with _messaging_span("publish", "send", SpanKind.PRODUCER, subject, None):
        yield inject({})


def process_span(subject: str, headers: Mapping[str, str] | None) -> AbstractContextManager[Span]:
    """The span of working on one message, as a child of its publisher's span."""
    return _messaging_span("process", "process", SpanKind.CONSUMER, subject, extract(headers))


def _messaging_span(
    name: str, kind: str, role: SpanKind, subject: str, parent: Context | None
) -> AbstractContextManager[Span]:
    template = names.subject_template(subject)
    attributes: dict[str, AttributeValue] = {
        names.MESSAGING_SYSTEM: names.NATS,
        names.MESSAGING_OPERATION_NAME: name,
        names.MESSAGING_OPERATION_TYPE: kind,
        names.MESSAGING_TEMPLATE: template,
        names.MESSAGING_DESTINATION: subject,
    }
    return span(f"{name} {template}", kind=role, attributes=attributes, parent=parent)


@contextmanager
def within(parent: Context) -> Iterator[None]:
    """Makes `parent` (as from `extract`) current without a span of its own."""
    token = otel_context.attach(parent)
    try:
        yield
    finally:
        otel_context.detach(token)
