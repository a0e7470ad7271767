"""An index for the calls of which no tokens are known."""

from deploy.migrations.eighth import DOWN, UP
from deploy.migrations.statements import execute

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute(UP)


def downgrade() -> None:
    execute(DOWN)
