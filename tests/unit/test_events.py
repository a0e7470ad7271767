"""What the names of events say fits what the events are."""

from typing import get_args

from shared import events as ev


def test_the_types_of_terminal_events_are_those_that_have_a_summary() -> None:
    """Readers take what has such a name to have one."""
    named = {
        event.model_fields["type"].default: "summary" in event.model_fields for event in get_args(ev.AnyEvent)
    }
    assert {name for name, has_summary in named.items() if has_summary} == set(ev.TERMINAL_TYPES)
    assert {event.model_fields["type"].default for event in get_args(ev.TerminalEvent)} == set(
        ev.TERMINAL_TYPES
    )
