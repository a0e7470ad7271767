"""One trace from the HTTP request over the log to the model call and the rollup, exported by the standard variables."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.stack import up


class Collector:
    """Takes OTLP over HTTP and keeps (service, span) pairs."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        self.arrived = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def take(self, request: ExportTraceServiceRequest) -> None:
        with self.arrived:
            for resource in request.resource_spans:
                names = {a.key: a.value.string_value for a in resource.resource.attributes}
                self.spans += [
                    (names["service.name"], span) for scope in resource.scope_spans for span in scope.spans
                ]
            self.arrived.notify_all()

    def trace_with(self, services: set[str], trace_id: bytes) -> list[tuple[str, Any]]:
        """Waits until all these services have sent a span of that trace."""
        with self.arrived:

            def found() -> list[tuple[str, Any]]:
                return [(service, span) for service, span in self.spans if span.trace_id == trace_id]

            assert self.arrived.wait_for(lambda: {service for service, _ in found()} >= services, 40), found()
            return found()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


async def test_one_trace_goes_from_the_request_to_the_model_call_and_the_rollup(
    collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> None:
    endpoint = f"http://127.0.0.1:{collector.server.server_port}"
    stack = await asyncio.to_thread(
        up,
        tmp_path_factory.mktemp("trace") / "home",
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_BSP_SCHEDULE_DELAY="200",
    )
    trace_id = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736")
    try:
        async with stack.client() as client:
            answer = await client.post(
                "/v1/executions",
                json={"engine": "article", "input": {"topic": "bridges [[standin words=10]]"}},
                headers={"traceparent": f"00-{trace_id.hex()}-00f067aa0ba902b7-01"},
            )
            assert answer.status_code == 202
        spans = await asyncio.to_thread(collector.trace_with, {"gateway", "executor", "analytics"}, trace_id)
    finally:
        assert await asyncio.to_thread(stack.down) == 0
    names = {span.name for _, span in spans}
    assert "POST /v1/executions" in names
    assert any(name.startswith("generate_content ") for name in names)
    call = next(span for _, span in spans if span.name.startswith("generate_content "))
    attributes = {a.key for a in call.attributes}
    assert {"gen_ai.request.model", "gen_ai.response.model", "gen_ai.usage.output_tokens"} <= attributes
    assert all(str(answer.json()["id"]) not in name for name in names)
