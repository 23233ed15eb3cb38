"""The first schema

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

IDENTIFIER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "instance",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False, comment="1, 2, ... for other content under the same UID"),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.Column(
            "digest", sa.String(length=64), nullable=False, comment="SHA-256 of the spooled file, its name in the spool"
        ),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="bytes in the spool"),
        sa.Column("calling_ae", sa.String(length=16), nullable=False),
        sa.Column("called_ae", sa.String(length=16), nullable=False),
        sa.Column("modality", sa.String(length=64), nullable=False),
        sa.Column("body_part", sa.String(length=64), nullable=False),
        sa.Column("view_position", sa.String(length=64), nullable=False),
        sa.Column("age_years", sa.Float(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True, comment="why ineligible or failed, a code"),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True, comment="when it left the state received"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance")),
        sa.UniqueConstraint("sop_instance_uid", "revision", name=op.f("uq_instance_sop_instance_uid_revision")),
    )
    op.create_index("ix_instance_received_at", "instance", ["received_at"])
    op.create_index("ix_instance_state_received_at", "instance", ["state", "received_at"])

    op.create_table(
        "audit_event",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("instance_id", IDENTIFIER, nullable=True),
        sa.Column("actor", sa.String(length=64), nullable=False, comment="calling AE, process or operator"),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], name=op.f("fk_audit_event_instance_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
    )
    op.create_index("ix_audit_event_at", "audit_event", ["at"])
    op.create_index("ix_audit_event_instance_id", "audit_event", ["instance_id"])

    op.create_table(
        "outbox",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="score"),
        sa.Column("instance_id", IDENTIFIER, nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "lease_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="published; published again when this passes",
        ),
        sa.Column(
            "claims",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="tasks that took it; fences old messages",
        ),
        sa.Column(
            "attempts", sa.Integer(), server_default="0", nullable=False, comment="claims that count against the film"
        ),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], name=op.f("fk_outbox_instance_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("kind", "instance_id", name=op.f("uq_outbox_kind_instance_id")),
    )
    op.create_index("ix_outbox_next_attempt_at", "outbox", ["next_attempt_at"])

    op.create_table(
        "score",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("instance_id", IDENTIFIER, nullable=False),
        sa.Column("bundle_digest", sa.String(length=64), nullable=False),
        sa.Column("engine", sa.String(length=64), nullable=False),
        sa.Column("software_version", sa.String(length=32), nullable=False),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], name=op.f("fk_score_instance_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_score")),
        sa.UniqueConstraint("instance_id", "bundle_digest", name=op.f("uq_score_instance_id_bundle_digest")),
    )
    op.create_table(
        "finding_score",
        sa.Column("score_id", IDENTIFIER, nullable=False),
        sa.Column("finding", sa.String(length=32), nullable=False),
        sa.Column("logit", sa.Float(), nullable=False),
        sa.Column("probability", sa.Float(), nullable=False, comment="calibrated, 0..1"),
        sa.Column(
            "operating_point", sa.Float(), nullable=True, comment="threshold in force; null where the finding has none"
        ),
        sa.Column("flag", sa.Boolean(), nullable=False, comment="probability >= operating_point"),
        sa.ForeignKeyConstraint(["score_id"], ["score.id"], name=op.f("fk_finding_score_score_id")),
        sa.PrimaryKeyConstraint("score_id", "finding", name=op.f("pk_finding_score")),
    )


def downgrade() -> None:
    op.drop_table("finding_score")
    op.drop_table("score")

    op.drop_table("outbox")

    op.drop_table("audit_event")

    op.drop_table("instance")
