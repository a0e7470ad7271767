"""An index for the calls of which no tokens are known."""

from alembic import op

from deploy.migrations.eighth import DOWN, UP

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_AS_IT_IS = {"no_parameters": True}
"""Several statements in one text, in which a percent sign is one."""


def upgrade() -> None:
    for part in UP:
        op.get_bind().exec_driver_sql(part, execution_options=_AS_IT_IS)


def downgrade() -> None:
    for part in DOWN:
        op.get_bind().exec_driver_sql(part, execution_options=_AS_IT_IS)
