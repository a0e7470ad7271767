"""The models that the stand-in knows."""

_TEXT_MODELS = (
    "gemini-2.5-pro",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-3.1-flash-lite",
    "gemini-3.1-pro-preview",
    "gemini-3.5-flash",
    "gemini-3.5-flash-lite",
    "gemini-3.6-flash",
    "gemini-3.7-flash",
    "gemini-3.8-flash",
)
_ALIASES = {
    "gemini-flash-latest": "gemini-3.8-flash",
    "gemini-flash-lite-latest": "gemini-3.5-flash-lite",
    "gemini-pro-latest": "gemini-3.1-pro-preview",
    "flash": "gemini-3.8-flash",
    "lite": "gemini-3.5-flash-lite",
    "pro": "gemini-3.1-pro-preview",
}


def answering_model(name: str, version: str) -> str | None:
    """The model that answers for `name`, None if this API version does not have it.

    Version v1 has neither previews nor aliases.
    """
    if version == "v1":
        return name if name in _TEXT_MODELS and not name.endswith("-preview") else None
    return name if name in _TEXT_MODELS else _ALIASES.get(name)


def names(version: str) -> list[str]:
    return [name for name in (*_TEXT_MODELS, *_ALIASES) if answering_model(name, version)]


def describe(name: str) -> dict[str, object]:
    """The body of `GET models/{name}`."""
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name.replace("-", " ").title(),
        "description": "Answered by a local stand-in, not by a model.",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "temperature": 1,
        "topP": 0.95,
        "topK": 64,
        "maxTemperature": 2,
        "thinking": True,
    }
