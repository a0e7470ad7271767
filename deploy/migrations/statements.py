"""How the statements of a revision are executed."""

from collections.abc import Iterable

from alembic import op


def execute(parts: Iterable[str]) -> None:
    """Each part may hold several statements, in which a percent sign is one."""
    for part in parts:
        op.get_bind().exec_driver_sql(part, execution_options={"no_parameters": True})
