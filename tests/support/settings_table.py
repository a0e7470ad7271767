"""docs/settings.md, written from the settings classes: `python -m tests.support.settings_table`."""

from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from deploy.local.standin.settings import Settings as StandinSettings
from services.analytics.settings import AnalyticsSettings
from services.executor.settings import ExecutorSettings
from services.gateway.settings import GatewaySettings
from services.janitor.settings import JanitorSettings
from shared.settings import ServiceSettings, variable
from shared.topology import TopologySettings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"

HEAD = """\
# Settings

Everything is set by environment variables. A service that misses one, or finds a wrong value, names the variable and
exits with code 2. This page is written from the code (`make settings`), and a test fails when it is out of date.

Beside these, the standard variables of OpenTelemetry are read: traces are exported when
`OTEL_EXPORTER_OTLP_ENDPOINT` is set. The command line reads `LEKHIKA_URL`, `LEKHIKA_API_KEY` and `LEKHIKA_HOME`.
"""

SECTIONS: tuple[tuple[str, str, type[BaseSettings]], ...] = (
    ("Every service", "", ServiceSettings),
    ("Gateway", "`python -m services.gateway`", GatewaySettings),
    ("Executor", "`python -m services.executor`", ExecutorSettings),
    ("Analytics", "`python -m services.analytics`", AnalyticsSettings),
    ("Janitor", "`python -m services.janitor`", JanitorSettings),
    (
        "Topology",
        "`python -m shared.topology`, the step that makes streams, consumers and buckets",
        TopologySettings,
    ),
    ("Stand-in for the Gemini API", "`python -m deploy.local.standin`", StandinSettings),
)


def page() -> str:
    """The whole page as it should be."""
    common = set(ServiceSettings.model_fields)
    parts = [HEAD]
    for title, note, settings in SECTIONS:
        own = settings is ServiceSettings or not issubclass(settings, ServiceSettings)
        names = [name for name in settings.model_fields if own or name not in common]
        parts.append(
            f"\n## {title}\n"
            + (f"\n{note}\n" if note else "")
            + "\n| variable | default | meaning |\n| --- | --- | --- |\n"
        )
        parts.extend(_row(settings, name) for name in names)
    return "".join(parts)


def _row(settings: type[BaseSettings], name: str) -> str:
    info = settings.model_fields[name]
    meaning = " ".join((info.description or "").split()).replace("|", "\\|")
    return f"| `{variable(settings, name)}` | {_default(info.default, info.annotation)} | {meaning} |\n"


def _default(value: Any, annotation: Any) -> str:
    if value is PydanticUndefined:
        return "must be set" + (" (secret)" if annotation is SecretStr else "")
    return "" if value in (None, "") else f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page())
