"""Acknowledged alarms

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

CODES = sa.JSON(none_as_null=True)
COLUMNS = {
    "about": "what is wrong, one by one: instance ids, measures",
    "acknowledged": "at, by, why, and the value and about of then; null when raised again",
}


def upgrade() -> None:
    for name, comment in COLUMNS.items():
        op.add_column("alarm", sa.Column(name, CODES, nullable=True, comment=comment))


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("alarm", name)
