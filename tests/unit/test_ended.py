"""What analytics reads of an end is what the event says, and what is none is refused."""

import random
from dataclasses import asdict
from typing import get_args, get_type_hints

import orjson
import pytest

from services.analytics.ended import Outcome, outcome_of
from shared import events as ev
from shared.errors import UnknownEvent
from shared.ids import new_id
from tests.support.ledger import end, ended_of

USED = ("user_id", "kind", "attempt", "requested_at", "started_at", "usage")


@pytest.mark.parametrize("seed", range(30))
def test_what_is_counted_is_what_the_event_says(seed: int) -> None:
    recorded = end(random.Random(seed))
    event, read = recorded.event, ended_of(recorded)
    assert isinstance(event, ev.TerminalEvent)
    summary, said = read.outcome.summary, event.summary
    assert read.outcome.type == event.type
    assert [getattr(summary, name) for name in USED] == [getattr(said, name) for name in USED]
    assert asdict(summary.engine) == {"id": said.engine.id, "name": said.engine.name}
    assert (read.execution_id, read.seq, read.time) == (recorded.execution_id, recorded.seq, recorded.time)
    assert read.event_id == recorded.message_id
    assert read.body == ev.encode(event)


def test_every_end_is_read_and_nothing_else() -> None:
    assert set(get_args(get_type_hints(Outcome)["type"])) == set(ev.TERMINAL_TYPES)
    with pytest.raises(UnknownEvent, match="type: Input should be 'completed', 'stopped' or 'failed'"):
        outcome_of(ev.encode(ev.StopRequested(by=new_id())))


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"version": 2}, "version"),
        ({"summary": None}, "summary"),
        ({"user_id": 7}, "summary.user_id"),
        ({"engine": {"id": "e"}}, "summary.engine.name"),
        ({"kind": "free"}, "summary.kind"),
        ({"attempt": -1}, "summary.attempt"),
        ({"requested_at": "yesterday"}, "summary.requested_at"),
        (
            {"usage": [{"model": "m", "tier": "payg", "tokens": {"input": -1}}]},
            "summary.usage.0.tokens.input",
        ),
    ],
)
def test_an_end_of_another_form_is_refused_with_the_place_and_without_its_content(
    changed: dict[str, object], where: str
) -> None:
    body = orjson.loads(ev.encode(end(random.Random(1)).event))
    (body if set(changed) <= set(body) else body["summary"]).update(changed)
    with pytest.raises(UnknownEvent, match=rf"event can not be read: {where}: ") as refused:
        outcome_of(orjson.dumps(body))
    assert "yesterday" not in str(refused.value)


def test_what_is_new_in_an_event_does_not_keep_it_from_being_counted() -> None:
    """Fields that the ledger has not may be of any form."""
    body = orjson.loads(ev.encode(end(random.Random(1)).event))
    outcome = outcome_of(orjson.dumps(body | {"output": 5, "partials": "none", "more": {}}))
    assert outcome.summary.user_id == body["summary"]["user_id"]
