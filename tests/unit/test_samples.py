"""The engines that every user finds are valid and run with their defaults alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.templates import evaluate, render
from shared.validation import check_input, validate_engine
from shared.workflow import TemplateNode
from tests.support.drafts import MODELS

SAMPLES = sorted(Path("services/gateway/samples").glob("*.json"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_valid(path: Path) -> None:
    found = validate_engine(json.loads(path.read_text()), MODELS)
    assert found.id == path.stem


def test_the_sample_book_is_put_together_from_its_chapters() -> None:
    book = validate_engine(json.loads(Path("services/gateway/samples/short-book.json").read_text()), MODELS)
    outline = {
        "title": "Tea",
        "chapters": [{"title": "Leaf", "summary": "."}, {"title": "Cup", "summary": "."}],
    }
    node = book.node("book")
    assert isinstance(node, TemplateNode)
    text = render(node.template, {"title": "", "outline": outline, "edited": ["Green.\n", "Hot."]})
    assert text == "# Tea\n\n## Leaf\n\nGreen.\n\n## Cup\n\nHot.\n"


def like(schema: dict[str, Any]) -> Any:
    """A value that follows a sample's output schema."""
    match schema["type"]:
        case "object":
            return {name: like(part) for name, part in schema["properties"].items()}
        case "array":
            return [like(schema["items"])]
        case "boolean":
            return True
        case "integer" | "number":
            return 1
        case _:
            return schema.get("enum", ["tea"])[0]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_template_of_a_sample_renders_with_defaults_alone(path: Path) -> None:
    found = validate_engine(json.loads(path.read_text()), MODELS)
    required = {
        name: ["tea"] if spec.type == "list" else "tea"
        for name, spec in found.inputs.items()
        if spec.required
    }
    values, faults = check_input(found.inputs, required)
    assert faults == []
    for node in found.nodes:
        local: dict[str, Any] = {}
        if node.kind == "for_each":
            items = evaluate(node.items, values)
            assert isinstance(items, list)
            local = {node.as_: items[0], "index": 0}
        for source in node.sources():
            if not source.expression:
                assert render(source.text, {**values, **local}).strip()
        [task] = [part.task for part in node.parts()]
        schema = getattr(task, "output_schema", None)
        output = like(schema) if schema else "Some text."
        values[node.id] = [output] if node.kind == "for_each" else output
