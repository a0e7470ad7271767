"""An audit that nobody changes; erasures of people's data."""

from deploy.migrations.sixth import DOWN, UP
from deploy.migrations.statements import execute

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute(UP)


def downgrade() -> None:
    execute(DOWN)
