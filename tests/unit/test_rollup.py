"""From an end in the log to the lines of the ledger."""

from datetime import UTC, datetime, timedelta

import pytest

from services.analytics.ended import Ended
from services.analytics.pricing import PriceList
from services.analytics.rollup import NotCountable, entry_of
from shared import events as ev
from shared.ids import new_id
from shared.usage import Certainty, Kind, ModelUsage, Tier, Tokens
from tests.support.ledger import ended_of

TIME = datetime(2026, 11, 23, 18, 44, 59, 999_999, tzinfo=UTC)
USER, EXECUTION = new_id(), new_id()
NO_PRICES = PriceList([])


def summary(*usage: ModelUsage, user_id: str = USER) -> ev.Summary:
    return ev.Summary(
        user_id=user_id,
        engine=ev.EngineRef(id="short-book", name="Short book", version=2),
        kind=Kind.INCLUDED,
        attempt=2,
        requested_at=TIME - timedelta(seconds=9),
        started_at=TIME - timedelta(seconds=8),
        usage=usage,
    )


def ended(event: ev.AnyEvent, execution_id: str = EXECUTION, message_id: str = "m-1") -> Ended:
    return ended_of(
        ev.Recorded(execution_id=execution_id, event=event, seq=7, time=TIME, after=6, message_id=message_id)
    )


def used(certainty: Certainty, output: int, *, model: str = "m", calls: int = 1) -> ModelUsage:
    tokens = Tokens(output=output, certainty=certainty)
    return ModelUsage(model=model, tier=Tier.INCLUDED, tokens=tokens, calls=calls)


ENDS: list[tuple[ev.AnyEvent, str]] = [
    (ev.ExecutionCompleted(summary=summary(), output="text"), "completed"),
    (ev.ExecutionStopped(summary=summary(), stop=ev.StopInfo(by=USER, at=TIME)), "stopped"),
    (ev.ExecutionFailed(summary=summary(), error=ev.ErrorInfo(code="c", message="m")), "failed"),
]


@pytest.mark.parametrize(("event", "outcome"), ENDS)
def test_every_end_has_a_mark_also_when_nothing_was_used(event: ev.AnyEvent, outcome: str) -> None:
    entry = entry_of(ended(event), NO_PRICES)
    assert entry.facts == ()
    assert entry.mark.outcome == outcome
    assert (entry.mark.execution_id, entry.mark.user_id, entry.mark.event_id) == (EXECUTION, USER, "m-1")
    assert (entry.mark.engine_id, entry.mark.engine_name, entry.mark.attempts) == (
        "short-book",
        "Short book",
        2,
    )


def test_an_execution_ended_at_the_server_s_time() -> None:
    assert entry_of(ended(ENDS[0][0]), NO_PRICES).mark.ended_at == TIME


def test_one_fact_per_model_and_certainty_in_a_stable_order() -> None:
    parts = [
        used(Certainty.UNKNOWN, 0),
        used(Certainty.MEASURED, 5, model="n"),
        used(Certainty.MEASURED, 3),
        used(Certainty.MEASURED, 4, calls=2),
    ]
    event = ev.ExecutionCompleted(summary=summary(*parts), output="text")
    facts = entry_of(ended(event), NO_PRICES).facts
    assert [(f.line, f.model, f.certainty, f.output_tokens, f.calls) for f in facts] == [
        (1, "m", "measured", 7, 3),
        (2, "m", "unknown", 0, 1),
        (3, "n", "measured", 5, 1),
    ]


def test_without_a_price_a_fact_has_tokens_and_no_cost() -> None:
    event = ev.ExecutionCompleted(summary=summary(used(Certainty.MEASURED, 5)), output="text")
    [fact] = entry_of(ended(event), NO_PRICES).facts
    assert (fact.output_tokens, fact.cost, fact.price_version) == (5, None, None)


def test_an_event_without_a_message_id_is_named_by_its_place() -> None:
    assert entry_of(ended(ENDS[0][0], message_id=""), NO_PRICES).mark.event_id == f"{EXECUTION}:7"


@pytest.mark.parametrize(
    ("event", "execution_id", "reason"),
    [
        (ENDS[0][0], "not-a-uuid", "bad_id"),
        (ev.ExecutionCompleted(summary=summary(user_id="bob"), output="text"), EXECUTION, "bad_id"),
    ],
    ids=["execution id", "user id"],
)
def test_what_can_not_be_counted_says_why(event: ev.AnyEvent, execution_id: str, reason: str) -> None:
    with pytest.raises(NotCountable) as raised:
        entry_of(ended(event, execution_id), NO_PRICES)
    assert raised.value.reason == reason
