"""Films drawn at random for labels, and resets of the live rates

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

IDENTIFIER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "label_sample",
        sa.Column(
            "id",
            IDENTIFIER,
            nullable=False,
            comment="its order is that of the draws, and within one that of chance",
        ),
        sa.Column("draw", sa.String(64), nullable=False, comment="name of the draw"),
        sa.Column("instance_id", IDENTIFIER, nullable=False),
        sa.Column("drawn_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], name=op.f("fk_label_sample_instance_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_sample")),
        sa.UniqueConstraint("instance_id", name=op.f("uq_label_sample_instance_id")),
    )
    op.create_index(op.f("ix_label_sample_draw"), "label_sample", ["draw"])
    op.create_table(
        "label_reset",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="films received before count no longer in live rates",
        ),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False, comment="free text of an operator, no patient data"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_reset")),
    )


def downgrade() -> None:
    op.drop_table("label_reset")
    op.drop_table("label_sample")
