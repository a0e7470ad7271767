"""The proofs of the fault suite find what they look for: each rule is broken once, on purpose."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from shared import ending
from shared import events as ev
from tests.support import make
from tests.support.chaos.call_checks import call_faults
from tests.support.chaos.evidence import Call, Evidence, unix
from tests.support.chaos.log_checks import failure_faults, history_faults, request_faults
from tests.support.chaos.people import Asked
from tests.support.chaos.plan import Settings, draw
from tests.support.chaos.usage_checks import usage_faults

RUN = (make.requested(), make.started(), make.node_started("text"), make.node_completed("text"))


def ended(*events: ev.AnyEvent) -> list[ev.Recorded]:
    state = make.folded(make.history(*events))
    return make.history(*events, ending.completed(state, "text"), execution_id="x")


def evidence(history: Sequence[ev.Recorded], *calls: Call, **more: object) -> Evidence:
    return Evidence(
        histories={"x": history},
        states={"x": make.folded(history)},
        marks={"x": "m"},
        calls={"m": calls},
        **more,  # type: ignore[arg-type]
    )


def call(history: Sequence[ev.Recorded], seq: int, after: float = 0.2, tokens: int = 5) -> Call:
    """A call so many seconds after that event."""
    return Call(node="text", begun=unix(history[seq - 1].time) + after, tokens=(10, 0, tokens, 0, 0))


def only(faults: object, text: str) -> None:
    found = list(faults)  # type: ignore[call-overload]
    assert len(found) == 1, found
    assert text in found[0]


def test_a_history_in_order_has_no_fault() -> None:
    history = ended(*RUN)
    found = evidence(history, call(history, 3))
    assert not list(history_faults(history))
    assert not list(call_faults(found, []))
    assert not list(usage_faults(found))


def test_a_broken_chain_two_ends_and_none_are_seen() -> None:
    history = ended(*RUN)
    only(history_faults([*history[:2], *history[3:]]), "the guard of 4")
    only(history_faults(history[:4]), "0 ends")
    twice = [*history, replace(history[-1], seq=6, after=5)]
    assert any("2 ends" in fault for fault in history_faults(twice))


def test_a_node_that_runs_again_is_seen() -> None:
    history = ended(*RUN, make.node_started("text", 2))
    assert any("node_started of the completed node text" in fault for fault in history_faults(history))


def test_calls_without_their_event_and_after_the_end_are_seen() -> None:
    history = ended(*RUN)
    only(call_faults(evidence(history, call(history, 2)), []), "no node_started of its own")
    only(call_faults(evidence(history, call(history, 3), call(history, 3, 0.3)), []), "no node_started")
    late: list[float] = []
    only(call_faults(evidence(history, call(history, 5, 2.0)), late), "s after it was over")
    assert len(late) == 1


def test_tokens_that_differ_from_the_truth_are_seen() -> None:
    history = ended(*RUN)
    assert any(
        "more than the truth" in f for f in usage_faults(evidence(history, call(history, 3, tokens=4)))
    )
    assert any(
        "less than the truth" in f for f in usage_faults(evidence(history, call(history, 3, tokens=6)))
    )


def test_requests_that_are_lost_doubled_or_unheard_of_are_seen() -> None:
    history = ended(*RUN)
    (request,) = draw(Settings(seed=1, executions=1, kills=0, pause=1)).requests
    lost = Asked(request, ids={"y"})
    only(request_faults(evidence(history, asked={"m": lost})), "it was accepted as {'y'}")
    doubled = Asked(request, ids={"x", "y"})
    assert any("one key gave" in f for f in request_faults(evidence(history, asked={"m": doubled})))
    only(request_faults(evidence(history)), "nobody asked for it")


@pytest.mark.parametrize(
    ("fault", "code"),
    [("status_503", "overloaded"), ("reset", "provider_unreachable"), ("status_429", "quota")],
)
def test_a_failure_that_nobody_asked_for_is_seen(fault: str, code: str) -> None:
    state = make.folded(make.history(*RUN))
    failed = ending.failed(state, ev.ErrorInfo(code=code, message="Try again later."))
    history = make.history(*RUN, failed, execution_id="x")
    (request,) = draw(Settings(seed=1, executions=1, kills=0, pause=1)).requests

    def faults(options: str, limits: dict[str, int]) -> list[str]:
        asked = {"m": Asked(replace(request, options=options, limits=limits), ids={"x"})}
        return list(failure_faults(evidence(history, asked=asked)))

    only(faults(f"fault={fault} times=1", {}), f"failed with {code}")
    only(faults("", {"seconds": 3}), f"failed with {code}")
    only(faults("fault=safety", {"seconds": 3}), f"failed with {code}")
    assert not faults(f"fault={fault} times=1", {"seconds": 3})


def test_the_same_seed_draws_the_same_plan() -> None:
    settings = Settings(seed=7, executions=20, kills=10, pause=1)
    assert draw(settings) == draw(settings)
    assert draw(settings).troubles != draw(Settings(seed=8, executions=20, kills=10, pause=1)).troubles
