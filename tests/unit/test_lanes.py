"""Which lane a request goes to, and who is promoted when."""

from services.gateway.lanes import PROMOTE_AFTER, Outstanding
from shared.subjects import NOW, later_lane

LATE = PROMOTE_AFTER + 1


def filled(count: int, per_user: int = 2) -> Outstanding:
    outstanding = Outstanding(per_user)
    for number in range(count):
        outstanding.reserve(f"e{number}", "ada", 0.0)
    return outstanding


def test_the_first_few_of_each_user_go_to_now() -> None:
    outstanding = filled(2)
    assert outstanding.reserve("e2", "ada", 0.0) == later_lane("ada")
    assert outstanding.reserve("b0", "ben", 0.0) == NOW


def test_what_has_ended_makes_room() -> None:
    outstanding = filled(2)
    outstanding.gone("e0")
    assert outstanding.reserve("e2", "ada", 0.0) == NOW
    outstanding.gone("e0")
    assert len(outstanding) == 2


def test_the_one_that_waited_longest_is_promoted_once_there_is_room() -> None:
    outstanding = filled(5)
    assert outstanding.promotable(LATE, 10) == []
    outstanding.gone("e1")
    assert outstanding.promotable(LATE, 10) == ["e2"]
    outstanding.taken("e2")
    assert outstanding.promotable(LATE, 10) == []


def test_what_runs_from_its_own_lane_is_not_promoted_and_takes_room() -> None:
    outstanding = filled(4)
    outstanding.gone("e0")
    outstanding.taken("e2")
    assert outstanding.promotable(LATE, 10) == []


def test_nobody_is_promoted_who_has_hardly_waited() -> None:
    outstanding = filled(3)
    outstanding.gone("e0")
    assert outstanding.promotable(PROMOTE_AFTER / 2, 10) == []


def test_an_own_append_and_its_copy_count_once() -> None:
    outstanding = filled(1)
    outstanding.queued("e0", "ada", NOW, 1.0)
    assert len(outstanding) == 1
    outstanding.queued("e0", "ada", later_lane("ada"), 2.0)
    assert outstanding.reserve("e1", "ada", 2.0) == NOW


def test_the_promoted_one_moves_out_of_the_queue_of_the_waiting() -> None:
    outstanding = filled(4)
    outstanding.gone("e0")
    outstanding.queued("e2", "ada", NOW, LATE)
    assert outstanding.promotable(LATE * 2, 10) == []


def test_those_that_were_silent_for_long_are_asked_for_oldest_first() -> None:
    outstanding = Outstanding(8)
    for number, since in enumerate((5.0, 1.0, 3.0)):
        outstanding.queued(f"e{number}", "ada", NOW, since)
    assert outstanding.unheard(4.0, 10) == ["e1", "e2"]
    outstanding.verified(["e1"], 9.0)
    assert outstanding.unheard(4.0, 10) == ["e2"]
