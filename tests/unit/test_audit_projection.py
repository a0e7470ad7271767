"""Stops of others' executions become lines of the audit, each once."""

import pytest

from services.gateway.audit_projection import Act, stops_of_others
from services.gateway.projection import project
from shared import ending
from shared import events as ev
from shared.execution import fold
from shared.ids import new_id
from tests.support import make

ADMIN = new_id()


def acts_of(*events: ev.AnyEvent) -> tuple[Act, ...]:
    return stops_of_others(make.history(*events), {})


def stopped(*before: ev.AnyEvent, by: str, force: bool = False) -> ev.ExecutionStopped:
    state = fold(make.history(*before))
    assert state is not None
    return ending.stopped(state, by=by, reason="why", force=force, at=state.last_at)


@pytest.fixture
def running() -> list[ev.AnyEvent]:
    return [make.requested(), make.started(attempt=1)]


def test_a_stop_by_another_is_an_act_and_its_end_is_not_another(running: list[ev.AnyEvent]) -> None:
    ask = ev.StopRequested(by=ADMIN, reason="runs away", force=True)
    (act,) = acts_of(*running, ask, stopped(*running, ask, by=ADMIN))
    assert (act.actor, act.action, act.reason) == (ADMIN, "executions.force_stop", "runs away")
    assert act.details["user_id"] == make.USER


def test_what_was_stopped_before_it_began_is_an_act_too() -> None:
    queued = [make.requested()]
    (act,) = acts_of(*queued, stopped(*queued, by=ADMIN))
    assert (act.action, act.details["status"]) == ("executions.stop", "queued")


@pytest.mark.parametrize("by", [make.USER, "system", "system:overdue"])
def test_a_stop_by_the_owner_or_the_system_is_none(running: list[ev.AnyEvent], by: str) -> None:
    ask = ev.StopRequested(by=by)
    assert acts_of(*running, ask, stopped(*running, ask, by=by)) == ()


def test_the_same_event_again_is_the_same_line_and_one_that_changes_nothing_is_none(
    running: list[ev.AnyEvent],
) -> None:
    history = make.history(*running, ev.StopRequested(by=ADMIN))
    first, again = stops_of_others(history, {}), stops_of_others(history, {})
    assert [act.id for act in first] == [act.id for act in again]
    rows = {row.id: row for row in project(history, {}).rows}
    assert stops_of_others(history, rows) == ()
