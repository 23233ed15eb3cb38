"""Results that may have arrived

Revision ID: 0022
Revises: 0021
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"

IDENTIFIER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "perhaps_sent",
        sa.Column("instance_id", IDENTIFIER, nullable=False, comment="the film"),
        sa.Column("bundle_digest", sa.String(64), nullable=False),
        sa.Column("destination", sa.String(128), nullable=False, comment="as of sent_object and sent_message"),
        sa.Column("objects", sa.JSON(), nullable=False, comment="DICOM objects of it: UIDs; of a message none"),
        sa.Column(
            "begun_at", sa.DateTime(timezone=True), nullable=False, comment="the first attempt that may have arrived"
        ),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], name=op.f("fk_perhaps_sent_instance_id")),
        sa.PrimaryKeyConstraint("instance_id", "bundle_digest", "destination", name=op.f("pk_perhaps_sent")),
    )


def downgrade() -> None:
    op.drop_table("perhaps_sent")
