"""Re-pricing and imports are acts of the audit."""

from deploy.migrations.seventh import DOWN, UP
from deploy.migrations.statements import execute

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute(UP)


def downgrade() -> None:
    execute(DOWN)
