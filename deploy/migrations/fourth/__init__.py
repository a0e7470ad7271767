"""The parts of the fourth revision: what every role of the server could do here by default."""

from deploy.migrations.fourth.access import ACCESS, ACCESS_BACK

UP = (ACCESS,)
DOWN = (ACCESS_BACK,)

__all__ = ["DOWN", "UP"]
