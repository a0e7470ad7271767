"""One trace from the HTTP request over the log to the model call and the rollup, exported by the standard variables."""

import asyncio
import secrets

from tests.support.collector import Collector
from tests.support.stack import Stack


async def test_one_trace_goes_from_the_request_to_the_model_call_and_the_rollup(
    collector: Collector, stack: Stack
) -> None:
    trace_id = secrets.token_bytes(16)
    async with stack.client() as client:
        answer = await client.post(
            "/v1/executions",
            json={"engine": "article", "input": {"topic": "bridges [[standin words=10]]"}},
            headers={"traceparent": f"00-{trace_id.hex()}-00f067aa0ba902b7-01"},
        )
        assert answer.status_code == 202
    spans = await asyncio.to_thread(collector.trace_with, {"gateway", "executor", "analytics"}, trace_id)
    names = {span.name for _, span in spans}
    assert "POST /v1/executions" in names
    assert any(name.startswith("generate_content ") for name in names)
    call = next(span for _, span in spans if span.name.startswith("generate_content "))
    attributes = {a.key for a in call.attributes}
    assert {"gen_ai.request.model", "gen_ai.response.model", "gen_ai.usage.output_tokens"} <= attributes
    assert all(str(answer.json()["id"]) not in name for name in names)
