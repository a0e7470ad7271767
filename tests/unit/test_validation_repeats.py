"""What may be asked of `previous`, the round before, is checked by the output schema of its task."""

from typing import Any

import pytest

from shared.validation import InvalidDefinition, validate_engine

JUDGED = {
    "kind": "generate",
    "model": "m",
    "prompt": "{% if index %}{{ previous.text }}{% endif %}",
    "output_schema": {
        "type": "object",
        "properties": {"text": {"type": "string"}, "good": {"type": "boolean"}},
    },
}
NUMBER = {
    "kind": "generate",
    "model": "m",
    "prompt": "{% if index == 0 %}{{ previous.upper() }}{% endif %}",
    "output_schema": {"type": "number"},
}
PLAIN = {"kind": "template", "template": "x"}


def faults(task: dict[str, Any], until: str) -> dict[str, str]:
    """By field."""
    node = {"id": "draft", "kind": "repeat", "node": task, "until": until, "times": 2}
    try:
        validate_engine({"id": "mine", "name": "Mine", "nodes": [node], "output": "draft"}, None)
    except InvalidDefinition as refused:
        return {problem.field: problem.detail for problem in refused.problems}
    return {}


@pytest.mark.parametrize(
    ("task", "until", "detail"),
    [
        (JUDGED, "{{ previous.goood }}", "the output_schema of previous has no 'goood'; did you mean good?"),
        (PLAIN, "{{ previous.good }}", "previous is a text and has no 'good'"),
    ],
)
def test_a_condition_can_not_ask_for_what_the_round_does_not_have(
    task: dict[str, Any], until: str, detail: str
) -> None:
    assert faults(task, until) == {"nodes.draft.until": detail}


def test_neither_can_the_task_itself() -> None:
    found = faults(JUDGED | {"prompt": "{% if index %}{{ previous.txt }}{% endif %}"}, "{{ previous.good }}")
    assert found == {
        "nodes.draft.node.prompt": "the output_schema of previous has no 'txt'; did you mean text?"
    }


@pytest.mark.parametrize(
    ("task", "until"),
    [
        (JUDGED, "{{ previous.good }}"),
        (JUDGED, "{{ previous.goood | default(false) }}"),
        (NUMBER, "{{ previous > 3 }}"),  # in the first round it is an empty text
    ],
)
def test_what_the_round_has_or_may_lack_is_no_fault(task: dict[str, Any], until: str) -> None:
    assert faults(task, until) == {}
