"""What PostgreSQL grants to everybody is taken back."""

from deploy.migrations.fourth import DOWN, UP
from deploy.migrations.statements import execute

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute(UP)


def downgrade() -> None:
    execute(DOWN)
