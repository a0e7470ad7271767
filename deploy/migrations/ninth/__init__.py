"""The parts of the ninth revision: days of a user's usage that are kept summed, and the trigger that keeps them true."""

from deploy.migrations.ninth.access import ACCESS
from deploy.migrations.ninth.tables import DROP, TABLES
from deploy.migrations.ninth.triggers import DROP_TRIGGERS, TRIGGERS

UP = (TABLES, TRIGGERS, ACCESS)
DOWN = (DROP_TRIGGERS, DROP)

__all__ = ["DOWN", "UP"]
