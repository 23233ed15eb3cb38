"""How far the site's audit repository has the audit trail

Revision ID: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

IDENTIFIER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "audit_feed",
        sa.Column("id", IDENTIFIER, nullable=False, comment="1: there is one row, made when there is a repository"),
        sa.Column(
            "last_id", IDENTIFIER, nullable=False, comment="audit event up to which the repository has everything"
        ),
        sa.Column("until_id", IDENTIFIER, comment="end of the batch that is on its way; tried again as it was"),
        sa.Column("next_attempt_at", TIME, nullable=False),
        sa.Column("lease_until", TIME, comment="taken; taken again when this passes"),
        sa.Column("takes", sa.Integer(), nullable=False, server_default="0", comment="fences old ones"),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0", comment="in a row"),
        sa.Column("reason", sa.String(64), nullable=False, server_default="", comment="of the last failure, a code"),
        sa.Column("handed_over_at", TIME, comment="the last batch"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_feed")),
    )


def downgrade() -> None:
    op.drop_table("audit_feed")
