"""The examples of docs/engines.md, and input for each of them."""

import re
from pathlib import Path
from typing import Any

import yaml

_PAGE = Path(__file__).parents[2] / "docs" / "engines.md"
EXAMPLES: list[dict[str, Any]] = [
    yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", _PAGE.read_text(), re.DOTALL)
]
GIVEN: dict[str, dict[str, Any]] = {
    "fables": {"animal": "owl"},
    "reply": {"letter": "Why is my tea cold?"},
    "haiku": {},
    "digest": {"text": "One.\n\nTwo."},
}
MODELS = frozenset({"gemini-3.8-flash", "gemini-3.5-flash-lite"})
