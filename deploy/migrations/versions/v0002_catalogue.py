"""Versions and drafts of engines, sharing by their authors, providers and capabilities of models."""

from deploy.migrations.second import DOWN, UP
from deploy.migrations.statements import execute

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute(UP)


def downgrade() -> None:
    execute(DOWN)
