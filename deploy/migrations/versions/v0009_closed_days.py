"""Days of usage that are kept summed, for those who look at long ranges."""

from deploy.migrations.ninth import DOWN, UP
from deploy.migrations.statements import execute

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute(UP)


def downgrade() -> None:
    execute(DOWN)
