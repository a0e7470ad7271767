"""What rebuilding, importing and insights of usage need."""

from deploy.migrations.fifth import DOWN, UP
from deploy.migrations.statements import execute

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute(UP)


def downgrade() -> None:
    execute(DOWN)
