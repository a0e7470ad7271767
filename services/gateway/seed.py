"""`python -m services.gateway.seed`: the first users and the sample engines. Can be run again at any time.

Reads JSON from stdin: {"users": [{"user_id", "email", "name", "role", "api_key", "password"}]}, all texts, `role` user
or superadmin, `password` optional; other fields are ignored. Of keys and passwords only digests are stored; a password
that is there stays. Exit codes: 1 refused, 2 wrong usage.
"""

import asyncio
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AliasChoices, BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway import engine_store, passwords
from services.gateway.digests import digest
from services.gateway.key_store import PREFIX
from services.gateway.person_fields import GivenPassword
from services.gateway.session_store import set_password
from shared.db import Role, make_engine, transaction
from shared.errors import LekhikaError, Permanent
from shared.field_words import told
from shared.ids import new_id
from shared.settings import load
from shared.tables import SYSTEM_USER_ID
from shared.validation import validate_engine
from shared.workflow import Engine

SAMPLES = Path(__file__).with_name("samples")


class SeedSettings(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, populate_by_name=True)

    database_url: SecretStr = Field(validation_alias=AliasChoices("DATABASE_URL", "database_url"))


class SeedUser(BaseModel):
    user_id: UUID
    email: Annotated[str, Field(min_length=3, max_length=320)]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    role: Literal["user", "superadmin"] = "user"
    api_key: Annotated[SecretStr, Field(min_length=19)]
    password: GivenPassword | None = None


class Seed(BaseModel):
    users: list[SeedUser] = []


_USER = text("""
INSERT INTO users (id, email, display_name, role) VALUES (:id, lower(:email), :name, :role)
ON CONFLICT (id) DO UPDATE SET email = excluded.email, display_name = excluded.display_name, role = excluded.role
""")

# Without naming the column that conflicts: the role may not read digests.
_KEY = text("""
INSERT INTO api_keys (id, user_id, prefix, digest, name) VALUES (:id, :user_id, :prefix, :digest, 'first key')
ON CONFLICT DO NOTHING
""")

_HAS_PASSWORD = text("SELECT 1 FROM user_passwords WHERE user_id = :user_id")


def samples() -> Iterable[Engine]:
    """The sample engines. Raises: InvalidDefinition."""
    for path in sorted(SAMPLES.glob("*.json")):
        yield validate_engine(json.loads(path.read_text(encoding="utf-8")), None)


async def seed(database_url: str, wanted: Seed) -> None:
    """All or nothing. Raises: Unavailable; Permanent, when a user clashes with one that is there."""
    db = make_engine(database_url, application="seed", pool_size=1)
    try:
        async with transaction(db, role=Role.ADMIN) as connection:
            for user in wanted.users:
                await _put_user(connection, user)
            for engine in samples():
                await engine_store.put(connection, SYSTEM_USER_ID, engine)
                await engine_store.share(connection, SYSTEM_USER_ID, engine.id, shared=True)
    except IntegrityError as error:
        raise Permanent(f"a user clashes with one that is there: {str(error.orig).splitlines()[0]}") from None
    finally:
        await db.dispose()


async def _put_user(connection: AsyncConnection, user: SeedUser) -> None:
    values = {"id": str(user.user_id), "email": user.email, "name": user.name, "role": user.role}
    await connection.execute(_USER, values)
    key = user.api_key.get_secret_value()
    row = {"id": new_id(), "user_id": str(user.user_id), "prefix": key[:PREFIX], "digest": digest(key)}
    await connection.execute(_KEY, row)
    if user.password is not None and (await connection.execute(_HAS_PASSWORD, row)).first() is None:
        await set_password(connection, str(user.user_id), passwords.digest(user.password))


def main() -> int:
    settings = load(SeedSettings)
    try:
        wanted = Seed.model_validate_json(sys.stdin.read() or "{}")
    except ValidationError as error:
        # without the values: they hold keys
        for fault in error.errors(include_input=False, include_url=False):
            sys.stderr.write(f"seed: {'.'.join(map(str, fault['loc'])) or 'input'}: {told(fault)}\n")
        return 2
    try:
        asyncio.run(seed(settings.database_url.get_secret_value(), wanted))
    except LekhikaError as error:
        sys.stderr.write(f"seed: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
