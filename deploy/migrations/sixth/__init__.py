"""The parts of the sixth revision: an audit that nobody changes, and erasures of people's data."""

from deploy.migrations.sixth.access import ACCESS, ACCESS_BACK
from deploy.migrations.sixth.tables import DROP, TABLES

UP = (TABLES, ACCESS)
DOWN = (ACCESS_BACK, DROP)

__all__ = ["DOWN", "UP"]
