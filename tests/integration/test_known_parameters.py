"""Query parameters that a call does not have, on all routes alike."""

import httpx
import pytest

from tests.integration.test_gateway_requests import fields, problem


@pytest.mark.parametrize(
    ("call", "field", "told"),
    [
        ("GET /v1/usage?group-by=engine", "group-by", "is not known; did you mean group_by?"),
        ("GET /v1/executions?state=running", "state", "is not known; did you mean status?"),
        ("GET /v1/executions?page=2", "page", "is not known; there is cursor, engine, limit, status"),
        ("GET /v1/executions/x/events?last=3", "last", "is not known; there is after"),
        ("POST /v1/executions/x/stop?force=true", "force", "is not known: this call has no parameters"),
    ],
)
async def test_it_is_refused_with_its_name_and_the_nearest_known(
    ada: httpx.AsyncClient, call: str, field: str, told: str
) -> None:
    method, url = call.split()
    refused = problem(await ada.request(method, url), 422, "invalid_request")
    assert refused["errors"] == [{"field": field, "detail": told}]


async def test_every_route_refuses_it(ada: httpx.AsyncClient) -> None:
    document = (await ada.get("/openapi.json")).json()
    calls = [(method, path) for path, each in document["paths"].items() for method in each]
    assert len(calls) > 40
    for method, path in calls:
        answer = await ada.request(method.upper(), path.format_map(_Ids()), params={"nonsense": "1"})
        assert fields(problem(answer, 422, "invalid_request")) == {"nonsense"}, (method, path)


class _Ids(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "x"


async def test_pages_and_what_machines_ask_take_any_parameter(ada: httpx.AsyncClient) -> None:
    for url in ("/?utm_source=mail", "/console/main.js?v=1", "/livez?probe=1", "/openapi.json?x=1"):
        assert (await ada.get(url)).status_code == 200
