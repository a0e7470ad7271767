"""Traces: ids without an exporter, context in headers, and spans that end however their block ends."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from shared import conventions as names
from shared import telemetry

ID = "01a209b6-1212-76e9-953c-db3b7c37ff77"


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setattr(telemetry, "tracer", lambda: provider.get_tracer("test"))
    yield memory
    provider.shutdown()


def only(memory: InMemorySpanExporter) -> ReadableSpan:
    [span] = memory.get_finished_spans()
    return span


def test_the_span_of_a_model_call(exported: InMemorySpanExporter) -> None:
    with telemetry.gen_ai_span("gemini-3.8-flash", attributes={names.NODE_ID: "outline"}) as span:
        telemetry.record_answer(span, model="gemini-3.8-flash-001", finish_reasons=["STOP"], input_tokens=7)

    found = only(exported)
    assert found.name == "generate_content gemini-3.8-flash"
    assert found.kind is SpanKind.CLIENT
    assert dict(found.attributes or {}) == {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": "gemini-3.8-flash",
        "gen_ai.response.model": "gemini-3.8-flash-001",
        "gen_ai.response.finish_reasons": ("STOP",),
        "gen_ai.usage.input_tokens": 7,
        "lekhika.node.id": "outline",
    }


@pytest.mark.asyncio
async def test_a_cancelled_call_ends_its_span_and_is_no_failure(exported: InMemorySpanExporter) -> None:
    begun = asyncio.Event()

    async def call() -> None:
        with telemetry.gen_ai_span("m"):
            begun.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(call())
        await begun.wait()
        task.cancel()

    found = only(exported)
    assert (found.attributes or {})["error.type"] == "cancelled"
    assert found.status.status_code is StatusCode.UNSET


def test_a_failed_call_names_its_error_and_not_its_text(exported: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="secret"), telemetry.gen_ai_span("m"):
        raise ValueError("secret")

    found = only(exported)
    assert (found.attributes or {})["error.type"] == "ValueError"
    assert found.status.status_code is StatusCode.ERROR
    assert "secret" not in found.to_json()


def test_one_trace_over_a_message(exported: InMemorySpanExporter) -> None:
    subject = f"executions.{ID}.requested.now.{ID}"
    with telemetry.publish_span(subject) as headers:
        pass
    with telemetry.process_span(subject, headers):
        inside = telemetry.current_trace_id()

    sent, received = exported.get_finished_spans()
    assert sent.name == "publish executions.{id}.requested"
    assert received.name == "process executions.{id}.requested"
    assert (sent.kind, received.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert received.parent is not None
    assert sent.context is not None
    assert received.parent.span_id == sent.context.span_id
    assert inside == f"{sent.context.trace_id:032x}"


@pytest.mark.parametrize("headers", [None, {}, {"traceparent": "nonsense"}])
def test_a_message_without_context_starts_a_trace_of_its_own(
    exported: InMemorySpanExporter, headers: dict[str, str] | None
) -> None:
    with telemetry.process_span("deltas.x", headers):
        assert telemetry.current_trace_id()
    assert only(exported).parent is None


def test_within_makes_a_context_current_and_gives_it_back(exported: InMemorySpanExporter) -> None:
    with telemetry.span("outer"):
        headers = telemetry.inject({})
        outer = telemetry.current_trace_id()
    assert telemetry.current_trace_id() is None
    with telemetry.within(telemetry.extract(headers)):
        assert telemetry.current_trace_id() == outer
    assert telemetry.current_trace_id() is None


@pytest.mark.parametrize(
    ("subject", "template"),
    [
        (f"executions.{ID}.requested.later.3.{ID}", "executions.{id}.requested"),
        (f"committed.executions.{ID}.stop_requested", "committed.executions.{id}.stop_requested"),
        (f"deltas.{ID}", "deltas.{id}"),
        (f"logs.gateway.{ID}", "logs.{service}.{instance}"),
        (f"commands.worker.{ID}", "commands.worker.{id}"),
    ],
)
def test_no_id_gets_into_a_template(subject: str, template: str) -> None:
    assert names.subject_template(subject) == template


def test_model_names_that_people_make_up_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_models", set())
    labels = {names.model_label(f"model-{i}") for i in range(1000)}
    assert len(labels) == 65
    assert "other" in labels
    assert names.model_label("model-0") == "model-0"


PROBE = """
import asyncio, json
from shared import telemetry
provider = telemetry.setup("probe", "instance-1", "1.2")
with telemetry.span("x") as span:
    print(json.dumps({"trace": telemetry.current_trace_id(), "recording": span.is_recording(),
                      "name": provider.resource.attributes["service.name"]}))
asyncio.run(telemetry.shutdown(provider, 200))
"""


def probe(**environment: str) -> dict[str, object]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_ids_exist_though_nothing_is_exported() -> None:
    found = probe()
    assert found["trace"]
    assert found["recording"] is False
    assert found["name"] == "probe"


def test_an_endpoint_turns_the_export_on_and_one_that_does_not_answer_holds_nothing_up() -> None:
    assert probe(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")["recording"] is True


def test_otlp_can_be_turned_off_by_the_standard_variables() -> None:
    endpoint = "http://127.0.0.1:9"
    assert probe(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_TRACES_EXPORTER="none")["recording"] is False
    assert probe(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_SDK_DISABLED="true")["trace"] is None


def test_no_span_outside_of_one() -> None:
    assert telemetry.current_trace_id() is None
    assert telemetry.inject({}) == {}
    assert not trace.get_current_span().get_span_context().is_valid
