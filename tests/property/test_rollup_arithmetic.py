"""Whatever was used, the ledger's lines hold all of it, once, and cost what their parts cost."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from services.analytics.ended import Ended
from services.analytics.pricing import Price, PriceList, TokenKind
from services.analytics.rollup import entry_of
from shared import events as ev
from shared.ids import new_id
from shared.usage import Certainty, Kind, ModelUsage, Tier, Tokens, total_tokens
from tests.support.ledger import ended_of

TIME = datetime(2026, 11, 23, 18, 44, tzinfo=UTC)
MODELS = ("a", "b", "c")
PRICES = PriceList(
    Price(
        model=model,
        kind=kind,
        threshold=threshold,
        per_million=Decimal(1 + place) / 1000,
        valid_from=TIME - timedelta(days=1),
        version=place,
    )
    for place, (model, kind, threshold) in enumerate(
        (model, kind, threshold) for model in MODELS for kind in TokenKind for threshold in (0, 200_001)
    )
)

count = st.integers(0, 3_000_000)
tokens = st.builds(
    lambda plain, cached, output, thoughts, tool, certainty: Tokens(
        input=plain + cached, cached=cached, output=output, thoughts=thoughts, tool=tool, certainty=certainty
    ),
    count,
    count,
    count,
    count,
    count,
    st.sampled_from(Certainty),
)
used = st.builds(
    ModelUsage,
    model=st.sampled_from(MODELS),
    tier=st.sampled_from(Tier),
    tokens=tokens,
    calls=st.integers(1, 9),
    long_context=st.booleans(),
)


@given(st.lists(used, max_size=30))
def test_lines_hold_every_token_and_call_once(usage: list[ModelUsage]) -> None:
    facts = entry_of(_completed(usage), PRICES).facts
    whole = total_tokens(part.tokens for part in usage)
    assert sum(fact.calls for fact in facts) == sum(part.calls for part in usage)
    for kind in TokenKind:
        assert sum(getattr(fact, f"{kind}_tokens") for fact in facts) == getattr(whole, kind)
    keys = [(fact.model, fact.model_type, fact.certainty, fact.long_context) for fact in facts]
    assert len(set(keys)) == len(keys)
    assert [fact.line for fact in facts] == list(range(1, len(facts) + 1))


@given(st.lists(used, max_size=30))
def test_the_cost_of_the_lines_is_the_cost_of_the_parts_to_the_tenth_decimal(usage: list[ModelUsage]) -> None:
    facts = entry_of(_completed(usage), PRICES).facts
    parts = [PRICES.cost(part, TIME) for part in usage if part.tokens.total]
    assert sum(fact.cost for fact in facts if fact.cost is not None) == sum(
        part.amount for part in parts if part is not None
    )
    for fact in facts:
        if fact.cost is not None:
            assert fact.cost == round(fact.cost, 10)


def _completed(usage: list[ModelUsage]) -> Ended:
    summary = ev.Summary(
        user_id=new_id(),
        engine=ev.EngineRef(id="e", name="E", version=1),
        kind=Kind.MIXED,
        attempt=1,
        requested_at=TIME,
        usage=tuple(usage),
    )
    event = ev.ExecutionCompleted(summary=summary, output="x")
    return ended_of(ev.Recorded(execution_id=new_id(), event=event, seq=1, time=TIME, after=0))
