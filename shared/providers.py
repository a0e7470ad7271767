"""Prefixes of models' names that say which provider answers; a name without one is Gemini's. Pure."""

OPENAI = "openai"
PREFIXES = (OPENAI,)
