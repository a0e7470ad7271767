"""The pure parts of the stack and the command line."""

from pathlib import Path
from typing import Any

import pytest

from deploy.local.definition_files import WrongFile, parse, read_definition
from deploy.local.environment import choose_provider, inherited, openai_variables, service_variables
from deploy.local.inputs import WrongInput, inputs_from, missing
from deploy.local.log_lines import readable
from deploy.local.plan import standard_plan
from deploy.local.render import seconds_between, tokens
from deploy.local.restarts import deaths_after, delay_before_restart
from deploy.local.silence import Silence

STANDIN = "http://127.0.0.1:9"


def test_the_first_restart_is_at_once_and_the_pause_grows_to_five_seconds() -> None:
    assert [delay_before_restart(n) for n in range(1, 8)] == [0.0, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert delay_before_restart(10_000) == 5.0


def test_a_steady_life_forgives_earlier_deaths() -> None:
    assert deaths_after(6, lived_seconds=1.0) == 7
    assert deaths_after(6, lived_seconds=30.0) == 1


@pytest.mark.parametrize("between_looks", [5.0, 7.0], ids=["refused", "timed out"])
def test_what_has_not_answered_for_a_minute_hangs(between_looks: float) -> None:
    silence, now = Silence(60.0, 0.0), 1_000.0
    silence.answered(now)
    times = [now + between_looks * look for look in range(1, 20)]
    hangs = [time - now for time in times if silence.hangs_after_miss(time)]
    assert 60.0 <= hangs[0] < 60.0 + between_looks


def test_time_in_which_nobody_asked_is_no_silence() -> None:
    silence = Silence(60.0, 0.0)
    assert not silence.hangs_after_miss(5.0)
    assert not silence.hangs_after_miss(3_600.0)
    silence.answered(3_601.0)
    assert not silence.hangs_after_miss(7_200.0)


def test_without_key_and_url_the_own_standin_is_used() -> None:
    provider = choose_provider(gemini_key=None, gemini_url=None, standin_url=STANDIN)
    assert (provider.kind, provider.url, provider.start_standin) == ("stand-in", STANDIN, True)


def test_a_key_means_the_real_api_and_a_url_is_taken_as_it_is() -> None:
    real = choose_provider(gemini_key="k", gemini_url=None, standin_url=STANDIN)
    other = choose_provider(gemini_key=None, gemini_url="http://x", standin_url=STANDIN)
    assert (real.kind, real.key, real.start_standin) == ("gemini", "k", False)
    assert (other.kind, other.url, other.start_standin) == ("stand-in", "http://x", False)


def test_services_inherit_settings_but_no_address_of_another_stack() -> None:
    caller = {
        "LEKHIKA_LOG_LEVEL": "debug",
        "OTEL_SERVICE_NAME": "x",
        "LEKHIKA_URL": "u",
        "NATS_URL": "n",
        "PGHOST": "p",
        "OPENAI_API_KEY": "k",
    }
    kept = inherited(caller)
    assert kept["LEKHIKA_LOG_LEVEL"] == "debug"
    assert kept["OTEL_SERVICE_NAME"] == "x"
    assert not {"LEKHIKA_URL", "NATS_URL", "PGHOST", "OPENAI_API_KEY"} & kept.keys()
    assert "127.0.0.1" in kept["NO_PROXY"]


def test_only_executors_get_the_key_and_only_the_others_a_database() -> None:
    openai = openai_variables({"OPENAI_API_KEY": "secret", "OPENAI_LOG": "debug"})
    provider = choose_provider(gemini_key="secret", gemini_url=None, standin_url=STANDIN, openai=openai)
    for service in standard_plan(executors=1).services:
        variables = service_variables(
            nats_url="n",
            database_url="d" if service.role else None,
            provider=provider,
            calls_models=service.calls_models,
            host="127.0.0.1",
            port=1,
        )
        is_executor = service.name == "executor"
        assert ("GEMINI_API_KEY" in variables) == is_executor
        assert ("OPENAI_API_KEY" in variables) == is_executor
        assert ("DATABASE_URL" in variables) != is_executor


def test_the_plan_has_as_many_executors_as_asked_for() -> None:
    keys = [service.key for service in standard_plan(executors=3).services]
    assert keys == ["gateway-1", "executor-1", "executor-2", "executor-3", "analytics-1", "janitor-1"]


def test_inputs_take_the_type_that_the_engine_declares() -> None:
    declared = {"chapters": {"type": "number"}, "tags": {"type": "list"}}
    words = ["topic=a=b", "chapters=3", "tags=x", "tags=y"]
    assert inputs_from(words, declared) == {"topic": "a=b", "chapters": 3, "tags": ["x", "y"]}


def test_an_input_that_does_not_fit_its_type_is_left_for_the_gateway_to_refuse() -> None:
    for text in ("many", "nan", "inf", "-1e999"):
        assert inputs_from([f"chapters={text}"], {"chapters": {"type": "number"}}) == {"chapters": text}


def test_what_must_be_given_and_is_not_is_asked_for() -> None:
    declared: dict[str, dict[str, Any]] = {
        "topic": {"type": "text", "required": True, "title": "Topic"},
        "tone": {"type": "choice", "required": True, "choices": ["warm", "dry"]},
        "tags": {"type": "list", "required": True},
        "words": {"type": "number", "required": True, "default": 5},
        "notes": {"type": "text"},
        "given": {"type": "text", "required": True},
    }
    assert list(missing(["given"], declared)) == [
        ("topic", "Topic"),
        ("tone", "tone (warm, dry)"),
        ("tags", "tags (an empty line ends the list)"),
    ]


@pytest.mark.parametrize("word", ["topic", "=x", ""])
def test_an_input_must_be_key_and_value(word: str) -> None:
    with pytest.raises(WrongInput):
        inputs_from([word], {})


def test_tokens_show_how_certain_they_are() -> None:
    assert tokens({"total": 1200, "certainty": "measured"}) == "1,200"
    assert tokens({"total": 5, "certainty": "estimated"}) == "about 5"
    assert tokens({"total": 5, "certainty": "unknown"}) == "at least 5"
    assert tokens({"total": 0, "certainty": "unknown"}) == "-"


def test_durations_need_both_ends() -> None:
    assert seconds_between("2026-01-01T00:00:00Z", "2026-01-01T00:00:01.5Z") == "1.5 s"
    assert seconds_between("2026-01-01T00:00:00Z", None) == ""


def test_a_failed_service_is_shown_by_its_traceback_not_by_json() -> None:
    lines = ["plain", '{"level": "error", "message": "failed", "exception": "Traceback:\\n  boom"}', "[1]"]
    assert readable(lines) == "plain\nerror: failed\nTraceback:\n  boom\n[1]"
    assert readable(lines, last=1) == "[1]"


@pytest.mark.parametrize(
    ("text", "suffix", "told"),
    [
        ('{\n  "id": x}', ".json", "not JSON, line 2, column 9"),
        ("id: x", ".json", "not JSON, line 1, column 1"),
        ('{"id": x}', "", "not JSON, line 1"),
        ("id: [", ".yaml", "not YAML, line 1"),
        ("id: a\nname: b\nid: c", ".yaml", "line 3, column 1: the key 'id' stands in line 1 already"),
        ("nodes:\n  - {id: a, id: b}", ".yaml", "line 2, column 13: the key 'id'"),
        ('{"nodes": [{"id": 1, "id": 2}]}', ".json", "the key 'id' stands twice"),
        ('id: !!int ""', ".yaml", "not YAML"),
        ("id: " + "1:" * 300 + "1.5", ".yaml", "not YAML"),
    ],
)
def test_a_definition_says_where_it_is_wrong(text: str, suffix: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse(text, suffix)


@pytest.mark.parametrize(("text", "suffix"), [("id: x", ""), ("{id: x}", ".yml"), (' {"id": "x"}', "")])
def test_a_definition_is_read_by_its_suffix_else_by_its_start(text: str, suffix: str) -> None:
    assert parse(text, suffix) == {"id": "x"}


def test_what_yaml_copies_into_a_mapping_is_not_a_key_twice() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {<<: *a, y: 3}\nc: {<<: [*a, *b], x: 4}"
    assert parse(text, ".yaml")["c"] == {"x": 4, "y": 2}


def bomb(first: str, level: str) -> str:
    """Nine levels of nine: 387 million of the first."""
    levels = (f"l{n}: &l{n} " + level.format(", ".join([f"*l{n - 1}"] * 9)) for n in range(1, 10))
    return "\n".join([f"l0: &l0 {first}", *levels])


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.yaml", bomb("[x, x]", "[{}]"), "is larger than"),
        ("a.yaml", bomb("{x: 1}", "{{<<: [{}]}}"), "holds more than 100,000 entries"),
        ("a.yaml", "a: &a [*a]", "nested more than 64 deep"),
        ("a.yaml", "[" * 3_000, "nested too deep"),
        ("a.json", "[" * 100_000, "nested too deep"),
        ("a.json", '{"a":' + "[" * 100 + "]" * 100 + "}", "nested more than 64 deep"),
        ("a.yaml", "at: 2026-01-01", "at is a date, which JSON does not have"),
        ("a.yaml", "at: .inf", "must be a finite number"),
    ],
)
def test_no_file_takes_long_or_ends_in_a_traceback(tmp_path: Path, name: str, text: str, told: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(WrongFile, match=told):
        read_definition(file)
