"""The parts of the third revision: passwords, identities elsewhere, people who may not call any more."""

from deploy.migrations.third.access import ACCESS
from deploy.migrations.third.tables import DROP, TABLES

UP = (TABLES, ACCESS)
DOWN = (DROP,)

__all__ = ["DOWN", "UP"]
