"""The example of docs/engines.md is a valid engine."""

import re
from pathlib import Path

import yaml

from shared.validation import validate_engine

PAGE = Path(__file__).parents[2] / "docs" / "engines.md"


def test_the_example_on_the_page_is_valid() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert validate_engine(yaml.safe_load(example), {"gemini-3.8-flash"}).id == "fables"
