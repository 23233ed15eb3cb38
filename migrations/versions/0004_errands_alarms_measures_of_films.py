"""Errands, alarms, what films measure and their frozen reference

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

IDENTIFIER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
CODES = sa.JSON(none_as_null=True)


def upgrade() -> None:
    op.create_index(op.f("ix_instance_calling_ae_received_at"), "instance", ["calling_ae", "received_at"])
    op.create_table(
        "errand",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="night, mail or webhook"),
        sa.Column("key", sa.String(length=64), nullable=False, comment="what makes it one: a date, an alarm's event"),
        sa.Column("payload", CODES, nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "lease_until", sa.DateTime(timezone=True), nullable=True, comment="taken; taken again when this passes"
        ),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False, comment="claims; fences old ones"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_errand")),
        sa.UniqueConstraint("kind", "key", name=op.f("uq_errand_kind_key")),
    )
    op.create_index(op.f("ix_errand_next_attempt_at"), "errand", ["next_attempt_at"])
    op.create_table(
        "alarm",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("rule", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False, comment='an AE title or a finding, or ""'),
        sa.Column("value", sa.Float(), nullable=False, comment="when it was last looked at"),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("text", sa.String(length=500), nullable=False),
        sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cleared_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarm")),
    )
    still_open = sa.text("cleared_at IS NULL")
    op.create_index(
        op.f("ix_alarm_rule_subject"),
        "alarm",
        ["rule", "subject"],
        unique=True,
        sqlite_where=still_open,
        postgresql_where=still_open,
    )
    op.create_index(op.f("ix_alarm_raised_at"), "alarm", ["raised_at"])
    op.create_table(
        "film_measure",
        sa.Column("instance_id", IDENTIFIER, nullable=False),
        sa.Column("bundle_digest", sa.String(length=64), nullable=False, comment="whose gate looked"),
        sa.Column("brightness", sa.Float(), nullable=False, comment="mean of the middle as displayed, 0..1"),
        sa.Column("contrast", sa.Float(), nullable=False),
        sa.Column("entropy", sa.Float(), nullable=False, comment="bits"),
        sa.Column("clipped", sa.Float(), nullable=False),
        sa.Column(
            "distance", sa.Float(), nullable=True, comment="of the gate's network; null where the bundle has none"
        ),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], name=op.f("fk_film_measure_instance_id")),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_film_measure")),
    )
    op.create_table(
        "drift_reference",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("calling_ae", sa.String(length=16), nullable=False),
        sa.Column("measure", sa.String(length=64), nullable=False),
        sa.Column("bundle_digest", sa.String(length=64), nullable=False, comment='"" where it depends on no bundle'),
        sa.Column("films", sa.Integer(), nullable=False),
        sa.Column("sample", sa.JSON(), nullable=False, comment="values of these films, sorted; at most 2000 of them"),
        sa.Column("first_received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("frozen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift_reference")),
        sa.UniqueConstraint(
            "calling_ae",
            "measure",
            "bundle_digest",
            name=op.f("uq_drift_reference_calling_ae_measure_bundle_digest"),
        ),
    )


def downgrade() -> None:
    for table in ("drift_reference", "film_measure", "alarm", "errand"):
        op.drop_table(table)
    op.drop_index(op.f("ix_instance_calling_ae_received_at"), "instance")
