"""Closed days of usage as they are read: one row a day."""

from deploy.migrations.statements import execute
from deploy.migrations.tenth import DOWN, UP

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute(UP)


def downgrade() -> None:
    execute(DOWN)
