"""Messages about results that were sent: HL7, webhook, mail

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

IDENTIFIER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "sent_message",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("instance_id", IDENTIFIER, nullable=False, comment="the film"),
        sa.Column("bundle_digest", sa.String(64), nullable=False),
        sa.Column(
            "destination",
            sa.String(128),
            nullable=False,
            comment="mllp://host:port, https://host#digest, mailto:address",
        ),
        sa.Column("kind", sa.String(16), nullable=False, comment="hl7, webhook or mail"),
        sa.Column(
            "message_id",
            sa.String(64),
            nullable=False,
            comment="MSH-10, webhook-id or Message-ID without its domain",
        ),
        sa.Column("digest", sa.String(64), nullable=False, comment="SHA-256 of the message as it was made"),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer", sa.String(16), nullable=False, comment="AA or CA, an HTTP status, 250"),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], name=op.f("fk_sent_message_instance_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sent_message")),
        sa.UniqueConstraint(
            "instance_id",
            "bundle_digest",
            "destination",
            "message_id",
            name=op.f("uq_sent_message"),
        ),
    )
    op.create_index(op.f("ix_sent_message_sent_at"), "sent_message", ["sent_at"])


def downgrade() -> None:
    op.drop_table("sent_message")
