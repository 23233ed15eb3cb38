"""What the header says of the picture: view by code, orientation, how it was made, quality control

Revision ID: 0008
Revises: 0007
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    for column in _added():
        op.add_column("instance", column)


def downgrade() -> None:
    for column in _added():
        op.drop_column("instance", column.name)


def _added() -> tuple[sa.Column[Any], ...]:
    """NULL: not read. So it is for films that a gateway of the release before received; the worker reads them anew."""
    return tuple(
        sa.Column(name, sa.String(length=length), nullable=True, comment=comment)
        for name, length, comment in (
            ("view_code", 64, "what View Code Sequence says: PA, AP, ..."),
            ("patient_orientation", 16, "directions of rows and columns"),
            ("derived", 16, 'what was made of the film, "" for itself'),
            ("quality_control", 16, "Quality Control Image (0028,0300)"),
        )
    )
