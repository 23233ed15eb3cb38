"""Results that were sent, and the AEs whose results are

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

IDENTIFIER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KINDS = ("night, mail or webhook", "night, mail, webhook, result or lost_result")


def upgrade() -> None:
    _say_kinds(*KINDS)
    op.create_table(
        "sent_object",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("instance_id", IDENTIFIER, nullable=False, comment="the film"),
        sa.Column("bundle_digest", sa.String(64), nullable=False),
        sa.Column("destination", sa.String(128), nullable=False, comment="AE@host:port"),
        sa.Column("sop_class_uid", sa.String(64), nullable=False),
        sa.Column("sop_instance_uid", sa.String(64), nullable=False),
        sa.Column("series_instance_uid", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, comment="SHA-256 of the data set as it was made"),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False, comment="of the C-STORE-RSP: 0, or a warning"),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], name=op.f("fk_sent_object_instance_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sent_object")),
        sa.UniqueConstraint(
            "instance_id",
            "bundle_digest",
            "destination",
            "sop_instance_uid",
            name=op.f("uq_sent_object"),
        ),
    )
    op.create_index(op.f("ix_sent_object_sent_at"), "sent_object", ["sent_at"])
    op.create_table(
        "device",
        sa.Column("calling_ae", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False, comment="silent or accepted; without a row it is silent"),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False, comment="free text of an operator, no patient data"),
        sa.PrimaryKeyConstraint("calling_ae", name=op.f("pk_device")),
    )


def downgrade() -> None:
    _say_kinds(*reversed(KINDS))
    op.drop_table("device")
    op.drop_table("sent_object")


def _say_kinds(before: str, after: str) -> None:
    """SQLite keeps no comments."""
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("errand", "kind", existing_type=sa.String(16), existing_comment=before, comment=after)
