"""The parts of the first revision, in the order in which they are applied.

Policies come last: they hold for the owner of the tables too.
"""

from deploy.migrations.first.access import GRANTS, POLICIES
from deploy.migrations.first.prices import MODELS, PRICES
from deploy.migrations.first.roles import ROLES
from deploy.migrations.first.tables import DROP, TABLES

UP = (ROLES, TABLES, MODELS, PRICES, GRANTS, POLICIES)
DOWN = (DROP,)

__all__ = ["DOWN", "UP"]
