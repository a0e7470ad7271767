"""The parts of the second revision: versions and drafts of engines, and more that is known of models."""

from deploy.migrations.second.access import ACCESS, ACCESS_BACK
from deploy.migrations.second.models import MODELS
from deploy.migrations.second.tables import DROP, TABLES

UP = (TABLES, ACCESS, MODELS)
DOWN = (ACCESS_BACK, DROP)

__all__ = ["DOWN", "UP"]
