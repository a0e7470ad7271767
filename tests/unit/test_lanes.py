"""Which lane a request goes to, who is promoted when, and at which place the others wait."""

import pytest

from services.gateway.outstanding import PROMOTE_AFTER, Outstanding, Place
from shared.subjects import NOW, later_lane

LATE = PROMOTE_AFTER + 1


def filled(count: int, per_user: int = 2, user: str = "ada", into: Outstanding | None = None) -> Outstanding:
    outstanding = Outstanding(per_user) if into is None else into
    for number in range(count):
        outstanding.reserve(f"{user}{number}", user, number / 1000)
    return outstanding


def ahead(outstanding: Outstanding, execution_id: str) -> int | None:
    place = outstanding.place(execution_id, LATE)
    return None if place is None else place.ahead


def test_the_first_few_of_each_user_go_to_now() -> None:
    outstanding = filled(2)
    assert outstanding.reserve("e2", "ada", 0.0) == later_lane("ada")
    assert outstanding.reserve("b0", "ben", 0.0) == NOW


def test_what_has_ended_makes_room() -> None:
    outstanding = filled(2)
    outstanding.gone("ada0", 0.0)
    assert outstanding.reserve("e2", "ada", 0.0) == NOW
    outstanding.gone("ada0", 0.0)
    assert len(outstanding) == 2


def test_the_one_that_waited_longest_is_promoted_once_there_is_room() -> None:
    outstanding = filled(5)
    assert outstanding.promotable(LATE, 10) == []
    outstanding.gone("ada1", LATE)
    assert outstanding.promotable(LATE, 10) == ["ada2"]
    outstanding.queued("ada2", "ada", NOW, LATE)
    assert outstanding.promotable(LATE, 10) == []


def test_what_runs_from_its_own_lane_is_not_promoted_and_takes_room() -> None:
    outstanding = filled(4)
    outstanding.gone("ada0", LATE)
    outstanding.started("ada2", LATE)
    assert outstanding.promotable(LATE, 10) == []


def test_nobody_is_promoted_who_has_hardly_waited() -> None:
    outstanding = filled(3)
    outstanding.gone("ada0", 0.0)
    assert outstanding.promotable(PROMOTE_AFTER / 2, 10) == []


def test_users_take_turns_when_there_is_more_to_promote_than_fits() -> None:
    outstanding = Outstanding(2)
    for user in ("ada", "ben", "cleo"):
        filled(6, user=user, into=outstanding)
        outstanding.gone(f"{user}0", LATE)
        outstanding.gone(f"{user}1", LATE)
    first = outstanding.promotable(LATE, 2)
    assert first == ["ada2", "ben2"]
    for key in first:
        outstanding.set_aside(key, LATE)
    assert outstanding.promotable(LATE, 4) == ["cleo2", "ada3", "ben3", "cleo3"]


def test_an_own_append_and_its_copy_count_once() -> None:
    outstanding = filled(1)
    outstanding.queued("ada0", "ada", NOW, 1.0, seq=1)
    assert len(outstanding) == 1
    assert outstanding.reserve("e1", "ada", 2.0) == NOW
    assert outstanding.reserve("e2", "ada", 2.0) == later_lane("ada")


def test_a_copy_that_comes_after_that_of_a_later_event_changes_nothing() -> None:
    """Copies of different kinds come through different subscriptions and overtake each other under load."""
    outstanding = Outstanding(1)
    outstanding.started("e0", 0.0, seq=5)
    outstanding.queued("e0", "ada", later_lane("ada"), 0.0, seq=4)
    assert outstanding.place("e0", LATE) is None
    outstanding.gone("e1", 0.0)
    outstanding.queued("e1", "ada", NOW, 0.0, seq=6)
    assert len(outstanding) == 1
    outstanding.queued("e0", "ada", NOW, 0.0, seq=3)
    assert outstanding.place("e0", LATE) is None


def test_a_request_that_was_not_stored_can_be_made_again_under_its_id() -> None:
    outstanding = filled(1)
    outstanding.withdraw("ada0", 0.0)
    assert len(outstanding) == 0
    outstanding.reserve("ada0", "ada", 0.0)
    assert ahead(outstanding, "ada0") == 0


def test_a_request_whose_copy_was_heard_counts_although_its_append_was_not_acknowledged() -> None:
    outstanding = filled(1)
    outstanding.queued("ada0", "ada", NOW, 0.0, seq=4)
    outstanding.withdraw("ada0", 0.0)
    assert ahead(outstanding, "ada0") == 0


def test_those_that_were_silent_for_long_are_asked_for_oldest_first() -> None:
    outstanding = Outstanding(8)
    for number, since in enumerate((5.0, 1.0, 3.0)):
        outstanding.queued(f"e{number}", "ada", NOW, since)
    assert outstanding.unheard(4.0, 10) == ["e1", "e2"]
    outstanding.verified(["e1"], 9.0)
    assert outstanding.unheard(4.0, 10) == ["e2"]


def test_in_now_the_place_is_among_everybodys() -> None:
    outstanding = filled(2)
    filled(2, user="ben", into=outstanding)
    assert [ahead(outstanding, key) for key in ("ada0", "ben0", "ada1", "ben1")] == [0, 1, 2, 3]
    outstanding.started("ada0", LATE)
    assert [ahead(outstanding, key) for key in ("ada0", "ben0", "ben1")] == [None, 0, 2]


def test_in_later_the_place_is_among_the_own_ones_whatever_others_queue() -> None:
    outstanding = filled(10, user="hog")
    filled(4, into=outstanding)
    assert [ahead(outstanding, f"ada{number}") for number in (2, 3)] == [2, 3]
    assert ahead(outstanding, "hog9") == 9
    outstanding.gone("hog4", LATE)
    assert ahead(outstanding, "hog9") == 8
    outstanding.started("ada0", LATE)
    assert ahead(outstanding, "ada3") == 2


def test_what_is_handed_back_is_next() -> None:
    outstanding = filled(6)
    outstanding.started("ada0", LATE)
    outstanding.started("ada4", LATE)
    outstanding.released("ada4", LATE)
    outstanding.released("ada0", LATE)
    assert [ahead(outstanding, key) for key in ("ada0", "ada1", "ada2", "ada4")] == [0, 1, 3, 1]


def test_the_wait_is_not_guessed_before_anything_of_the_users_has_ended() -> None:
    outstanding = filled(100)
    for number in range(40):
        outstanding.started(f"ada{number}", 0.1)
    assert outstanding.place("ada40", 30.0) == Place(0, None)


def test_the_wait_follows_from_how_often_places_became_free() -> None:
    outstanding = filled(100)
    for number in range(10):
        outstanding.started(f"ada{number}", 0.0)
    for number in range(10):
        outstanding.gone(f"ada{number}", 20.0)  # ten in twenty seconds
    place = outstanding.place("ada19", 20.0)
    assert place is not None
    assert place.ahead == 9
    assert place.seconds == pytest.approx(20.0, rel=0.01)


def test_stopping_those_that_wait_makes_nobody_expect_to_start_sooner() -> None:
    outstanding = filled(100)
    for number in range(50, 90):
        outstanding.gone(f"ada{number}", 1.0)
    assert outstanding.place("ada49", 2.0) == Place(49, None)


def test_the_pace_of_now_counts_only_while_somebody_waits() -> None:
    outstanding = Outstanding(8)
    for number in range(4):  # a request a minute, each taken after 10 ms
        outstanding.reserve(f"e{number}", f"user{number}", number * 60.0)
        outstanding.started(f"e{number}", number * 60.0 + 0.01)
    outstanding.reserve("last", "ada", 300.0)
    place = outstanding.place("last", 300.0)
    assert place is not None
    assert place.seconds == pytest.approx(0.01, rel=0.01)


def test_a_pace_that_lies_long_back_is_no_pace() -> None:
    outstanding = Outstanding(8)
    outstanding.reserve("first", "ada", 0.0)
    outstanding.started("first", 0.01)
    outstanding.reserve("stuck", "ben", 10.0)
    assert outstanding.place("stuck", 60.0) is not None
    assert outstanding.place("stuck", 100.0) == Place(0, None)


def test_what_was_open_before_the_start_stands_first_and_tells_no_pace() -> None:
    """A restart is long after the machine's start, from which monotonic times are counted."""
    outstanding = Outstanding(8)
    outstanding.reserve("new", "ada", 5000.0)
    outstanding.found("old", "ada", NOW, 5000.0, runs=False)
    outstanding.found("runs", "ada", NOW, 5000.0, runs=True)
    assert outstanding.place("old", 5000.0) == Place(0, None)
    assert outstanding.place("new", 5000.0) == Place(1, None)
    assert outstanding.place("runs", 5000.0) is None
    assert set(outstanding.unheard(4000.0, 10)) == {"old", "runs"}


def test_after_a_restart_the_wait_follows_from_what_was_seen_since() -> None:
    outstanding = Outstanding(8)
    for number in range(4):
        outstanding.found(f"e{number}", "ada", NOW, 5000.0, runs=False)
    outstanding.started("e0", 5002.0)
    place = outstanding.place("e3", 5002.0)
    assert place is not None
    assert place.ahead == 2
    assert place.seconds == pytest.approx(6.0)


def test_what_was_heard_already_is_not_found_again() -> None:
    outstanding = Outstanding(8)
    outstanding.gone("ended", 5000.0)
    outstanding.started("began", 5000.0, seq=7)
    outstanding.queued("known", "ada", NOW, 5000.0, seq=8)
    for key in ("ended", "began", "known"):
        outstanding.found(key, "ada", later_lane("ada"), 5000.0, runs=False)
    assert len(outstanding) == 2
    assert [ahead(outstanding, key) for key in ("began", "known")] == [None, 0]
