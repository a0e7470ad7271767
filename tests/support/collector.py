"""Takes the spans that the standard variables of OpenTelemetry send somewhere."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


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

    @property
    def environment(self) -> dict[str, str]:
        """For the processes that are to send it their spans."""
        endpoint = f"http://127.0.0.1:{self.server.server_port}"
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
