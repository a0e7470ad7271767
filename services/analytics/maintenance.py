"""What the programs have in common that a person starts beside the service: settings, one line of JSON, exit codes."""

import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db import make_engine
from shared.errors import LekhikaError
from shared.settings import load

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

STATEMENT_SECONDS = 120.0
"""A range that is large all the same, such as the first, is not given up."""


class MaintenanceSettings(BaseSettings):
    database_url: SecretStr = Field(validation_alias=AliasChoices("DATABASE_URL", "database_url"))
    """Log in as lekhika_analytics, or as a role with its rights."""


async def run_program(
    name: str, work: "Callable[[AsyncEngine], Awaitable[DataclassInstance | dict[str, Any]]]"
) -> int:
    """The exit code; what was done goes to stdout as one line of JSON, what failed to stderr."""
    url = load(MaintenanceSettings).database_url.get_secret_value()
    engine = make_engine(url, application=name, pool_size=2, statement_seconds=STATEMENT_SECONDS)
    try:
        done = await work(engine)
    except LekhikaError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 1
    except SQLAlchemyError as error:
        sys.stderr.write(f"{name}: database: {str(getattr(error, 'orig', error)).splitlines()[0]}\n")
        return 1
    finally:
        await engine.dispose()
    sys.stdout.write(json.dumps(done if isinstance(done, dict) else asdict(done)) + "\n")
    return 0
