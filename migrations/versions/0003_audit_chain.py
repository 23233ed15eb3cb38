"""Audit events form a chain

Revision ID: 0003
Revises: 0002
"""

import hashlib
import json
from datetime import UTC
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

CHUNK = 5000
AUDIT_EVENT = sa.table(
    "audit_event",
    sa.column("id", sa.BigInteger),
    sa.column("at", sa.DateTime(timezone=True)),
    sa.column("action", sa.String),
    sa.column("instance_id", sa.BigInteger),
    sa.column("actor", sa.String),
    sa.column("detail", sa.JSON),
    sa.column("previous", sa.String),
    sa.column("digest", sa.String),
)


def upgrade() -> None:
    for name, comment in (("previous", "digest of the row before"), ("digest", "SHA-256 over previous and content")):
        op.add_column(
            "audit_event", sa.Column(name, sa.String(length=64), nullable=False, server_default="", comment=comment)
        )
    _chain()
    chained = sa.text("previous <> ''")
    op.create_index(
        op.f("ix_audit_event_previous"),
        "audit_event",
        ["previous"],
        unique=True,
        sqlite_where=chained,
        postgresql_where=chained,
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_audit_event_previous"), "audit_event")
    op.drop_column("audit_event", "digest")
    op.drop_column("audit_event", "previous")


def _chain() -> None:
    """Chain the rows that are there, as `worker.audit.trail` did when this was written."""
    connection, previous, last = op.get_bind(), "0" * 64, 0
    change = (
        sa.update(AUDIT_EVENT)
        .where(AUDIT_EVENT.c.id == sa.bindparam("key"))
        .values(previous=sa.bindparam("before"), digest=sa.bindparam("own"))
    )
    while True:
        query = sa.select(AUDIT_EVENT).where(AUDIT_EVENT.c.id > last).order_by(AUDIT_EVENT.c.id).limit(CHUNK)
        rows = connection.execute(query).all()
        changes = []
        for row in rows:
            own = _digest(previous, row)
            changes.append({"key": row.id, "before": previous, "own": own})
            previous, last = own, row.id
        if changes:
            connection.execute(change, changes)
        if len(rows) < CHUNK:
            return


def _digest(previous: str, row: Any) -> str:
    at = row.at if row.at.tzinfo else row.at.replace(tzinfo=UTC)
    content = {
        "previous": previous,
        "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "action": row.action,
        "instance_id": row.instance_id,
        "actor": row.actor,
        "detail": row.detail,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
