"""The catalogue of models: successors, kinds of executions, and what the provider's list changes."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.executor.models.names import BRANDS
from services.gateway.catalogue import Models
from services.gateway.model_bodies import is_model_name
from services.gateway.model_refresh import compare
from services.gateway.model_store import ModelRow
from shared.model_listing import ListedModel, ModelListing
from shared.providers import PREFIXES
from shared.usage import Kind, Tier, kind_of

NOW = datetime(2026, 11, 26, tzinfo=UTC)
PAST, FUTURE = datetime(2025, 9, 24, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


def model(name: str, tier: Tier = Tier.INCLUDED, **known: object) -> ModelRow:
    return replace(ModelRow(name=name, tier=tier), **known)  # type: ignore[arg-type]


def test_the_successor_that_is_named_can_be_used() -> None:
    models = Models(
        (
            model("first", retired_at=PAST, successor="second"),
            model("second", retired_at=PAST, successor="third"),
            model("third", retired_at=FUTURE, successor="fourth"),
            model("fourth"),
            model("alone", retired_at=PAST),
            model("around", retired_at=PAST, successor="about"),
            model("about", retired_at=PAST, successor="around"),
        )
    )
    assert models.successors(NOW) == {"first": "third", "second": "third"}
    assert models.known(NOW) == {"third", "fourth"}
    assert models.successors(FUTURE) == {"first": "fourth", "second": "fourth", "third": "fourth"}


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ((), Kind.NONE),
        (("flash",), Kind.INCLUDED),
        (("pro",), Kind.PAYG),
        (("flash", "pro"), Kind.MIXED),
        (("nobody-knows-it",), Kind.PAYG),
        (("flash", "nobody-knows-it"), Kind.MIXED),
        (("gone",), Kind.INCLUDED),
    ],
)
def test_the_kind_of_an_execution_is_never_unknown(names: tuple[str, ...], kind: Kind) -> None:
    models = Models((model("flash"), model("pro", Tier.PAYG), model("gone", retired_at=PAST)))
    assert kind_of(models.tiers(names).values()) is kind


def test_the_providers_list_adds_changes_and_marks_and_never_decides_a_tier() -> None:
    known = {
        row.name: row
        for row in (
            model("kept", Tier.INCLUDED, input_limit=10, output_limit=5),
            model("same", Tier.PAYG, input_limit=10),
            model("back", Tier.PAYG, unlisted_at=PAST),
            model("gone", Tier.INCLUDED),
            model("long-gone", Tier.INCLUDED, unlisted_at=PAST),
            model("retired", Tier.INCLUDED, retired_at=PAST),
            model("openai/llama", Tier.INCLUDED, provider="openai"),
        )
    }
    listing = ModelListing(
        providers=("gemini",),
        models=(
            ListedModel(name="kept", input_limit=20, output_limit=None),
            ListedModel(name="same", input_limit=10),
            ListedModel(name="back", input_limit=-1),
            ListedModel(name="new", input_limit=7, methods=("generateContent",), thinking=True),
            ListedModel(name="untold"),
            ListedModel(name="embeds", methods=("embedContent",)),
            ListedModel(name="no name!"),
        ),
    )
    found = compare(known, listing, NOW)
    assert found.answer.model_dump() == {
        "providers": ["gemini"],
        "added": ["new", "untold"],
        "undecided": ["untold"],
        "changed": ["kept"],
        "unlisted": ["gone"],
        "listed_again": ["back"],
    }
    rows = {row.name: row for row in found.rows}
    assert rows["kept"] == replace(known["kept"], input_limit=20)
    assert rows["gone"] == replace(known["gone"], unlisted_at=NOW)
    assert rows["back"] == replace(known["back"], unlisted_at=None)
    assert (rows["new"].tier, rows["new"].input_limit, rows["new"].capabilities["thinking"]) == (
        Tier.PAYG,
        7,
        True,
    )
    assert set(rows) == {"kept", "gone", "back", "new", "untold"}
    models = Models(tuple(rows.values()))
    assert models.known(NOW) == {"kept", "gone", "back", "new"}
    assert models.unfit().for_text == {"untold"}


def test_prefixes_are_those_of_the_providers_that_there_are() -> None:
    assert set(PREFIXES) == set(BRANDS)
    for prefix in PREFIXES:
        assert is_model_name(f"{prefix}/a/b:c")


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("gemini-3.8-flash", True),
        ("openai/gpt-6", True),
        ("openai/meta-llama/Llama-4:70b@q4", True),
        ("openai/", False),
        ("anthropic/claude", False),
        ("models/gemini-3.8-flash", False),
        ("with space", False),
        ("ends\n", False),
        ("", False),
        ("x" * 200, False),
    ],
)
def test_names_of_models(name: str, good: bool) -> None:
    assert is_model_name(name) is good
