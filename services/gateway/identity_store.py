"""People whom an identity provider vouches for, in Postgres."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.gateway.identity_tokens import Claims
from shared.db import Role, transaction
from shared.ids import new_id

# One at a time for each identity: two first requests at once are the rule, not the exception, in a browser.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:issuer || chr(10) || :subject, 0))")
_KNOWN = text("SELECT 1 FROM user_identities WHERE issuer = :issuer AND subject = :subject")
_PERSON = text("""
INSERT INTO users (id, email, display_name) VALUES (:id, :email, :name) ON CONFLICT (email) DO NOTHING
""")
_IDENTITY = text("INSERT INTO user_identities (issuer, subject, user_id) VALUES (:issuer, :subject, :id)")


async def create(db: AsyncEngine, claims: Claims) -> None:
    """Creates the person unless the identity is known. Raises: Unavailable.

    An email address that somebody has already is left out: it proves nothing, and must not lead to his account.
    """
    identity = {"issuer": claims.issuer, "subject": claims.subject}
    async with transaction(db, role=Role.AUTH) as connection:
        await connection.execute(_LOCK, identity)
        if (await connection.execute(_KNOWN, identity)).first() is not None:
            return
        person = {"id": new_id(), "email": claims.email, "name": claims.name}
        if (await connection.execute(_PERSON, person)).rowcount == 0:
            await connection.execute(_PERSON, {**person, "email": None})
        await connection.execute(_IDENTITY, {**identity, "id": person["id"]})
