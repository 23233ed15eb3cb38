"""What destinations say of results: storage commitment, and what C-FIND finds

Revision ID: 0013
Revises: 0012
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

KINDS = ("night, mail, webhook, result or lost_result", "night, mail, webhook, result, confirm or lost_result")
SAID: dict[str, tuple[sa.types.TypeEngine[Any], str]] = {
    "committed_at": (sa.DateTime(timezone=True), "its storage commitment came"),
    "found_at": (sa.DateTime(timezone=True), "its answer to C-FIND had the object"),
    "status_counts_at": (sa.DateTime(timezone=True), "it is not asked, or takes neither question: its status counts"),
    "failure_reason": (sa.Integer(), "(0008,1197) of its last report, where it does not commit"),
}


IDENTIFIER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ERRAND = sa.table(
    "errand",
    sa.column("id", IDENTIFIER),
    sa.column("kind", sa.String),
    sa.column("payload", sa.JSON),
    sa.column("instance_id", IDENTIFIER),
    sa.column("destination", sa.String),
)
INSTANCE = sa.table("instance", sa.column("id", IDENTIFIER), sa.column("state", sa.String))
RESULTS = ("result", "lost_result")


def upgrade() -> None:
    _say_kinds(*KINDS)
    op.add_column("errand", sa.Column("instance_id", IDENTIFIER, comment="the film"))
    op.add_column("errand", sa.Column("destination", sa.String(128), comment="its name"))
    connection = op.get_bind()
    for row in connection.execute(sa.select(ERRAND.c.id, ERRAND.c.payload).where(ERRAND.c.kind.in_(RESULTS))).all():
        known = {"instance_id": row.payload["instance"], "destination": row.payload["destination"]}
        connection.execute(sa.update(ERRAND).where(ERRAND.c.id == row.id).values(known))
    op.create_index(op.f("ix_errand_instance_id"), "errand", ["instance_id"])
    op.create_index(op.f("ix_errand_destination_next_attempt_at"), "errand", ["destination", "next_attempt_at"])
    for name, (kind, comment) in SAID.items():
        op.add_column("sent_object", sa.Column(name, kind, comment=comment))
    op.create_index(op.f("ix_sent_object_sop_instance_uid"), "sent_object", ["sop_instance_uid"])
    op.create_table(
        "commitment",
        sa.Column("transaction_uid", sa.String(64), nullable=False),
        sa.Column("destination", sa.String(128), nullable=False, comment="AE@host:port"),
        sa.Column("asked", sa.JSON(), nullable=False, comment="SOP Instance UIDs"),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), comment="its first report came"),
        sa.PrimaryKeyConstraint("transaction_uid", name=op.f("pk_commitment")),
    )


def downgrade() -> None:
    """What waits for a confirmation was sent: to a release that asks for none, that is all."""
    left = sa.select(ERRAND.c.instance_id).where(ERRAND.c.kind.in_(RESULTS))
    sent = sa.select(ERRAND.c.instance_id).where(ERRAND.c.kind == "confirm", ERRAND.c.instance_id.not_in(left))
    there = sa.update(INSTANCE).where(INSTANCE.c.state == "scored", INSTANCE.c.id.in_(sent))
    op.execute(there.values(state="reported"))
    op.execute("DELETE FROM errand WHERE kind = 'confirm'")
    for name in ("destination_next_attempt_at", "instance_id"):
        op.drop_index(op.f(f"ix_errand_{name}"), "errand")
    op.drop_column("errand", "destination")
    op.drop_column("errand", "instance_id")
    op.drop_table("commitment")
    op.drop_index(op.f("ix_sent_object_sop_instance_uid"), "sent_object")
    for name in SAID:
        op.drop_column("sent_object", name)
    _say_kinds(*reversed(KINDS))


def _say_kinds(before: str, after: str) -> None:
    """SQLite keeps no comments."""
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("errand", "kind", existing_type=sa.String(16), existing_comment=before, comment=after)
