"""What the gate and calibration add to scores, bundles in service, truth

Revision ID: 0002
Revises: 0001
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

IDENTIFIER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for table, columns in _added():
        for column in columns:
            op.add_column(table, column)
    op.create_index(op.f("ix_instance_accession_digest"), "instance", ["accession_digest"])
    op.create_table(
        "deployment",
        sa.Column("bundle_digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False, comment="folder, the same on every worker"),
        sa.Column("role", sa.String(length=16), nullable=False, comment="live, shadow or retired"),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("bundle_digest", name=op.f("pk_deployment")),
    )
    live = sa.text("role = 'live'")
    op.create_index(
        op.f("ix_deployment_role"), "deployment", ["role"], unique=True, sqlite_where=live, postgresql_where=live
    )
    op.create_table(
        "truth",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column(
            "sop_instance_uid",
            sa.String(length=64),
            nullable=False,
            comment='"" where the accession digest names the film',
        ),
        sa.Column("accession_digest", sa.String(length=64), nullable=False, comment='"" where the UID names it'),
        sa.Column("reader", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=32), nullable=False),
        sa.Column("read_on", sa.Date(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_truth")),
        sa.UniqueConstraint(
            "sop_instance_uid",
            "accession_digest",
            "reader",
            name=op.f("uq_truth_sop_instance_uid_accession_digest_reader"),
        ),
    )
    op.create_index(op.f("ix_truth_accession_digest"), "truth", ["accession_digest"])


def downgrade() -> None:
    op.drop_table("truth")
    op.drop_table("deployment")
    op.drop_index(op.f("ix_instance_accession_digest"), "instance")
    for table, columns in _added():
        for column in columns:
            op.drop_column(table, column.name)


def _added() -> tuple[tuple[str, tuple[sa.Column[Any], ...]], ...]:
    return (
        (
            "instance",
            (
                sa.Column(
                    "burned_in",
                    sa.String(length=16),
                    nullable=False,
                    server_default="",
                    comment="Burned In Annotation (0028,0301)",
                ),
                sa.Column(
                    "accession_digest",
                    sa.String(length=64),
                    nullable=False,
                    server_default="",
                    comment="SHA-256; labels name films by it",
                ),
            ),
        ),
        (
            "score",
            (
                sa.Column(
                    "role",
                    sa.String(length=16),
                    nullable=False,
                    server_default="live",
                    comment="of the bundle, then: live or shadow",
                ),
                sa.Column(
                    "prediction_set",
                    sa.JSON(),
                    comment="findings that cannot be ruled out; null where the bundle makes no sets",
                ),
                sa.Column(
                    "notes", sa.JSON(), comment="reasons of the gate under which this film was scored all the same"
                ),
            ),
        ),
        (
            "finding_score",
            (
                sa.Column(
                    "interval_low",
                    sa.Float(),
                    comment="of the truth among films that scored alike where it was calibrated, 95 %",
                ),
                sa.Column("interval_high", sa.Float()),
                sa.Column("operating_point_id", sa.String(length=64), comment="its name in the bundle"),
            ),
        ),
    )
