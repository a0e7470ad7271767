"""Settings, from the environment (`LEKHIKA_STANDIN_*`) and the command line, which wins."""

import argparse
from collections.abc import Sequence

from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.local.standin.options import parse

_OPTION_NAMES = ("first_ms", "chunk_ms", "chunks", "words")


class Settings(BaseSettings):
    """`extra` holds any further default options, written `name=value,name=value`."""

    model_config = SettingsConfigDict(
        env_prefix="LEKHIKA_STANDIN_", frozen=True, use_attribute_docstrings=True
    )

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 0
    """0 takes a free one."""
    first_ms: float | None = None
    """Pause before the first chunk of an answer; 30 when not set."""
    chunk_ms: float | None = None
    """Pause between two chunks; 25 when not set."""
    chunks: int | None = None
    """Number of chunks of an answer."""
    words: int | None = None
    """Number of words of an answer; 40 to 80 when not set."""
    extra: str = ""
    """Further default options, `name=value,name=value`."""
    ledger_entries: int = 100_000
    """Calls that are kept in its ledger."""

    def options(self) -> dict[str, object]:
        """Raw default options of every call."""
        given = {name: getattr(self, name) for name in _OPTION_NAMES}
        return {name: value for name, value in given.items() if value is not None} | dict(parse(self.extra))


def from_command_line(arguments: Sequence[str] | None = None) -> Settings:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.standin",
        description="A stand-in for the Gemini API, with a ledger at /admin/ledger.",
    )
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on; 0 picks a free one (0)")
    parser.add_argument("--first-ms", type=float, help="pause before the first chunk (30)")
    parser.add_argument("--chunk-ms", type=float, help="pause between chunks (25)")
    parser.add_argument("--chunks", type=int, help="number of chunks of an answer")
    parser.add_argument("--words", type=int, help="number of words of an answer (40 to 80)")
    parser.add_argument("--extra", help="further default options, name=value,name=value")
    parser.add_argument("--ledger-entries", type=int, help="calls kept in the ledger (100000)")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    return Settings(**given)
