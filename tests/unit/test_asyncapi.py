"""docs/asyncapi.json says what the code sends."""

from shared import events as ev
from tests.support.asyncapi import EVENTS, PAGE, text


def test_the_document_is_up_to_date() -> None:
    assert PAGE.read_text() == text(), "run `make asyncapi`"


def test_every_event_is_in_it() -> None:
    assert set(EVENTS) == set(ev.AnyEvent.__args__)
