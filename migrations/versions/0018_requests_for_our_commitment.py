"""Who asks whether we hold its objects, and what it was told

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

TIME = sa.DateTime(timezone=True)
KINDS = (
    "night, mail, webhook, result, confirm or lost_result",
    "night, mail, webhook, result, confirm, lost_result or commitment",
)


def upgrade() -> None:
    _say_kinds(*KINDS)
    op.create_table(
        "commitment_request",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("calling_ae", sa.String(16), nullable=False, comment="who asked whether we hold its objects"),
        sa.Column("transaction_uid", sa.String(64), nullable=False, comment="of its own making; it may ask twice"),
        sa.Column("asked", sa.JSON(), nullable=False, comment="SOP Instance UID -> SOP Class UID"),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("checked_at", TIME, nullable=True, comment="the bytes of what we hold were last read"),
        sa.Column(
            "failed",
            sa.JSON(none_as_null=True),
            nullable=True,
            comment="SOP Instance UID -> Failure Reason (0008,1197), as of then",
        ),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False, comment="to report, that ended"),
        sa.Column(
            "reason", sa.String(64), server_default="", nullable=False, comment="why the last of them failed, a code"
        ),
        sa.Column("answered_at", TIME, nullable=True, comment="it took the report"),
        sa.Column("given_up_at", TIME, nullable=True, comment="it is not reported to any more"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitment_request")),
    )
    for columns in (["calling_ae", "transaction_uid"], ["asked_at"]):
        name = f"ix_commitment_request_{'_'.join(columns)}"
        op.create_index(op.f(name), "commitment_request", columns)


def downgrade() -> None:
    _say_kinds(*reversed(KINDS))
    op.drop_table("commitment_request")
    op.execute("DELETE FROM errand WHERE kind = 'commitment'")


def _say_kinds(before: str, after: str) -> None:
    """SQLite keeps no comments."""
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("errand", "kind", existing_type=sa.String(16), existing_comment=before, comment=after)
