"""Passwords, identities at a provider, and disabled people."""

from deploy.migrations.statements import execute
from deploy.migrations.third import DOWN, UP

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute(UP)


def downgrade() -> None:
    execute(DOWN)
