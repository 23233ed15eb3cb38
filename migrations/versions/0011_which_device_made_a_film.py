"""Which X-ray device made a film, and whose calibration its score took

Revision ID: 0011
Revises: 0010
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    for table, column in _added():
        op.add_column(table, column)


def downgrade() -> None:
    for table, column in _added():
        op.drop_column(table, column.name)


def _added() -> tuple[tuple[str, sa.Column[Any]], ...]:
    """NULL in `instance`: not read, as of films that a gateway of the release before received. The worker reads them
    anew."""
    return tuple(
        (table, sa.Column(name, sa.String(length=length), nullable=True, comment=comment))
        for table, name, length, comment in (
            ("instance", "manufacturer", 64, "Manufacturer (0008,0070)"),
            ("instance", "model_name", 64, "Manufacturer's Model Name (0008,1090)"),
            ("instance", "station", 64, "Station Name (0008,1010)"),
            ("score", "device", 32, "of the bundle, whose calibration it took; null: the bundle's own"),
        )
    )
