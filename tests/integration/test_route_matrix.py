"""Every route of the OpenAPI document, asked by everybody: each answer is the intended one."""

from collections.abc import Iterator, Mapping

import httpx
import pytest

from tests.support.gateway import Database, Gateway
from tests.support.identity import Provider
from tests.support.routes import RULES, Cast, Rule, Things, dismiss, made_by, new_cast, routes_of


@pytest.fixture
def cast(database: Database, idp: Provider) -> Iterator[Cast]:
    yield new_cast(database, idp)
    dismiss(database)


async def test_every_route_has_a_decision_about_who_may_call_it(anybody: httpx.AsyncClient) -> None:
    routes = routes_of((await anybody.get("/openapi.json")).json())
    undecided = sorted(routes - set(RULES))
    assert not undecided, (
        f"Nobody has decided who may call {', '.join(undecided)}. Add each to RULES in tests/support/routes.py, with "
        "the status for its owner, another user and a superadmin; a new path parameter also to `made_by` there."
    )
    assert sorted(set(RULES) - routes) == [], "these are no routes any more"


async def _status(
    client: httpx.AsyncClient, route: str, rule: Rule, things: Things, headers: Mapping[str, str]
) -> tuple[int, str, str]:
    """Status, media type and text of the answer; of a stream of events nothing is read."""
    method, template = route.split(" ", 1)
    body = None if rule.body is None else rule.body
    request = client.build_request(method, template.format(**things.path), json=body, headers=dict(headers))
    answer = await client.send(request, stream=True)
    kind = answer.headers.get("content-type", "")
    text = "" if kind.startswith("text/event-stream") else (await answer.aread()).decode(errors="replace")
    await answer.aclose()
    return answer.status_code, kind, text


@pytest.mark.parametrize("route", RULES)
async def test_each_is_answered_as_intended(
    route: str, trusting: Gateway, database: Database, cast: Cast
) -> None:
    """At a gateway that takes tokens of a provider: elsewhere none is looked at at all."""
    rule = RULES[route]
    async with (
        trusting.client(cast.owner) as owner,
        trusting.client(database.people["root"]) as root,
        trusting.client() as client,
    ):
        things = await made_by(owner, root, cast.owner)
        found: dict[str, int] = {}
        for name, headers in cast.refused.items():
            found[name], kind, text = await _status(client, route, rule, things, headers)
            assert kind == "application/problem+json"
            assert things.mark not in text
        callers = {
            "other": cast.other.headers,
            "other by token": cast.by_token,
            "superadmin": cast.superadmin.headers,
            "owner": cast.owner.headers,
        }
        # Who may do it comes last: what it deletes must be there while the others are refused.
        order = ("other", "other by token", "owner", "superadmin") if rule.owner == 403 else tuple(callers)
        for name in order:
            found[name], _, text = await _status(client, route, rule, things, callers[name])
            if name.startswith("other"):
                assert things.mark not in text, "another user sees what is not his"
    assert found == {
        **dict.fromkeys(cast.refused, rule.nobody),
        "other": rule.other,
        "other by token": rule.other,
        "superadmin": rule.superadmin,
        "owner": rule.owner,
    }
