"""What Alembic runs: all steps of a command in one transaction, one command at a time on a database."""

from alembic import context
from sqlalchemy import Connection, text

from shared.tables import metadata

_LOCK = 0x6C656B68
"""Any fixed number: two stacks that migrate the same database at once wait for each other."""

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    context.run_migrations()
