"""What is left of calls that their executor did not end itself."""

from shared.deltas import Delta
from shared.ending import unknown_usage
from shared.lost import _usage
from shared.usage import Certainty, ModelUsage, Tier
from tests.support import make


def heard(*usages: ModelUsage) -> list[Delta]:
    return [
        Delta(attempt=1, node="text", node_attempt=1, offset=number, text="x", usage=usage)
        for number, usage in enumerate(usages)
    ]


def certainty(*usages: ModelUsage) -> Certainty:
    state = make.folded(make.history(make.requested(), make.started(), make.node_started("text")))
    return _usage(state.nodes["text"], state, heard(*usages)).tokens.certainty


def test_the_last_report_of_a_dead_executor_is_an_estimate() -> None:
    assert certainty(make.usage(3), make.usage(7)) is Certainty.ESTIMATED


def test_pieces_of_a_provider_that_reports_at_the_end_only_leave_the_count_unknown() -> None:
    """Each piece says then that its usage is unknown: an estimate of zero would be taken for a figure."""
    assert certainty(unknown_usage(make.MODEL, Tier.INCLUDED)) is Certainty.UNKNOWN
    assert certainty() is Certainty.UNKNOWN
