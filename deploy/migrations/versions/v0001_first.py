"""First schema: tables, roles, grants, row-level security, models and prices."""

from deploy.migrations.first import DOWN, UP
from deploy.migrations.statements import execute

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute(UP)


def downgrade() -> None:
    execute(DOWN)
