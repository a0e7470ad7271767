"""What the known models can do, and names that the provider has retired with what to take instead.

Retired ones have no prices: nothing is answered under their names any more.
"""

_CAPABILITIES = '{"streaming": true, "structured_output": true, "thinking": true}'
_GEMINI_1_ENDED = "2025-09-24T00:00:00Z"
_GEMINI_2_0_ENDED = "2026-06-01T00:00:00Z"

# name, tier, end, successor
_RETIRED = (
    ("gemini-1.0-pro", "payg", "2025-02-15T00:00:00Z", "gemini-3.8-flash"),
    ("gemini-1.5-pro", "payg", _GEMINI_1_ENDED, "gemini-3.8-flash"),
    ("gemini-1.5-flash", "included", _GEMINI_1_ENDED, "gemini-3.8-flash"),
    ("gemini-1.5-flash-8b", "included", _GEMINI_1_ENDED, "gemini-3.1-flash-lite"),
    ("gemini-2.0-flash", "included", _GEMINI_2_0_ENDED, "gemini-3.8-flash"),
    ("gemini-2.0-flash-lite", "included", _GEMINI_2_0_ENDED, "gemini-3.1-flash-lite"),
)

_ROWS = ",\n".join(str(row) for row in _RETIRED)  # texts only: Python writes a tuple of them as SQL does
MODELS = f"""
UPDATE models SET capabilities = '{_CAPABILITIES}' WHERE capabilities = '{{}}';
INSERT INTO models (name, tier, retired_at, successor) VALUES
{_ROWS}
ON CONFLICT (name) DO NOTHING;

ALTER TABLE engines FORCE ROW LEVEL SECURITY;
ALTER TABLE models FORCE ROW LEVEL SECURITY;
"""  # noqa: S608 - constants of this file
