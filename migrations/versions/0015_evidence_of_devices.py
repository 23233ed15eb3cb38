"""On what evidence an AE was accepted, and when it was silenced last

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

EVIDENCE = "what its labelled films said when it was accepted; null: it was without"
SILENCED = "when it was silenced last, kept when it is accepted again; null: never"


def upgrade() -> None:
    op.add_column("device", sa.Column("evidence", sa.JSON(none_as_null=True), nullable=True, comment=EVIDENCE))
    op.add_column("device", sa.Column("silenced_at", sa.DateTime(timezone=True), nullable=True, comment=SILENCED))
    op.execute("UPDATE device SET silenced_at = changed_at WHERE state = 'silent'")


def downgrade() -> None:
    op.drop_column("device", "silenced_at")
    op.drop_column("device", "evidence")
