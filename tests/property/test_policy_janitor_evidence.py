"""Whatever rounds see: two agreeing looks, far enough apart, between unbroken heartbeats, or nothing is done."""

from hypothesis import given
from hypothesis import strategies as st

from services.janitor.evidence import BETWEEN_SECONDS, UNBROKEN_SECONDS, Sightings, Suspicion, look
from services.janitor.policy import Action

IDS = st.sampled_from(["a", "b"])
SUSPICIONS = st.builds(Suspicion, st.sampled_from([Action.REQUEUE, Action.STOP]), st.integers(1, 2))
ROUND = st.tuples(
    st.floats(0.1, 15),  # seconds since the round before
    st.dictionaries(IDS, SUSPICIONS),
    st.one_of(st.none(), st.floats(0, 30)),  # for how long heartbeats have been accepted
)


@given(st.lists(ROUND, max_size=12))
def test_proof_needs_an_unbroken_row_of_agreeing_looks(
    rounds: list[tuple[float, dict[str, Suspicion], float | None]],
) -> None:
    seen: Sightings = {}
    past: list[tuple[float, dict[str, Suspicion]]] = []
    now = 1000.0
    for gap, suspects, accepted_for in rounds:
        now += gap
        since = None if accepted_for is None else now - accepted_for
        seen, proven = look(seen, suspects, now, since)
        for key in proven:
            assert since is not None
            assert now - since >= UNBROKEN_SECONDS
            agreeing = []
            for at, looked in reversed(past):
                if looked.get(key) != suspects[key] or at < since:
                    break
                agreeing.append(at)
            assert agreeing
            assert now - min(agreeing) >= BETWEEN_SECONDS
        past.append((now, suspects))
