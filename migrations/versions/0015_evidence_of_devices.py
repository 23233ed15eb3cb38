"""On what evidence an AE was accepted

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

EVIDENCE = "what its labelled films said when it was accepted; null: it was without"


def upgrade() -> None:
    op.add_column("device", sa.Column("evidence", sa.JSON(none_as_null=True), nullable=True, comment=EVIDENCE))


def downgrade() -> None:
    op.drop_column("device", "evidence")
