"""Templates are somebody's programs: they must neither break out, nor grow, nor run without an end."""

import time

import pytest

from services.executor.bounds import OutOfTime, bounded
from shared.template_checks import names
from shared.templates import TemplateProblem, evaluate, render

MEMORY = 256 << 20


pytestmark = pytest.mark.usefixtures("nothing_is_reported")


def test_a_template_sees_only_what_it_is_given() -> None:
    assert render("{{ a.title }}: {{ b | join(', ') }}", {"a": {"title": "T"}, "b": ["x", "y"]}) == "T: x, y"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ nothing }}",
        "{{ a.nothing }}",
        "{{ 1 / 0 }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{{ 'a' * 999999999 }}",
        "{{ [1] * 999999999 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ 'a' ** 3 }}",
        "{{ '\\ud800' }}",
        "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
    ],
)
def test_what_a_template_may_not_do_is_its_own_problem(source: str) -> None:
    with pytest.raises(TemplateProblem):
        render(source, {"a": {}})


def test_small_sums_still_work() -> None:
    assert render("{{ 2 ** 10 }} {{ '-' * 5 }} {{ 3 * 4 }}", {}) == "1024 ----- 12"


def test_finding_the_names_of_a_template_never_works_it_out() -> None:
    assert names("{{ 9 ** (9 ** 9) }}{{ topic }}{% for p in parts %}{{ p.title }}{% endfor %}") == {
        "topic",
        "parts",
    }


def test_a_syntax_error_names_its_line() -> None:
    with pytest.raises(TemplateProblem, match="line 2"):
        names("fine\n{% for %}")


@pytest.mark.parametrize("source", ["x", "{{ a }} and {{ b }}", "{{ nothing }}", "{{ a.b }}", "{{ a"])
def test_items_must_be_one_expression_with_a_value(source: str) -> None:
    with pytest.raises(TemplateProblem):
        evaluate(source, {"a": {}, "b": 1})


def test_an_expression_gives_the_value_itself() -> None:
    assert evaluate("{{ a.items_ }}", {"a": {"items_": [{"t": 1}]}}) == [{"t": 1}]
    assert evaluate("{{ text.split() }}", {"text": "a b"}) == ["a", "b"]


def test_a_template_without_an_end_is_ended() -> None:
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = j %}{% endfor %}{% endfor %}"
    began = time.monotonic()
    with pytest.raises(OutOfTime), bounded(0.2, MEMORY):
        render(endless, {})
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "source",
    [
        "{{ '%999999999d' % 1 }}",
        "{{ 'x' | center(999999999) }}",
        "{{ 'x'.ljust(999999999) }}",
        "{{ '{:999999999}'.format(1) }}",
        "{% set ns = namespace(x='x') %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    ],
)
def test_a_template_can_not_eat_the_memory_of_the_executor(source: str) -> None:
    names(source)  # finding its names works nothing out
    with pytest.raises(TemplateProblem, match=r"too much memory|grows over"), bounded(2, MEMORY):
        render(source, {})


@pytest.mark.parametrize(
    "source", ["{{ [1]|slice(1000000000000)|sum(start=[]) }}", "{{ [1]|slice(300000000)|list|length }}"]
)
def test_what_jinja_would_work_out_while_compiling_is_bounded_too(source: str) -> None:
    began = time.monotonic()
    with pytest.raises((OutOfTime, TemplateProblem)), bounded(0.2, MEMORY):
        render(source, {})
    assert time.monotonic() - began < 5


def test_the_bounds_leave_nothing_behind() -> None:
    with bounded(0.05, MEMORY):
        pass
    deadline = time.monotonic() + 0.1
    while time.monotonic() < deadline:
        pass
