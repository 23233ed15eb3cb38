"""Who may come: peers, and what unknown ones sent

Revision ID: 0017
Revises: 0016

Who sent films before the update goes on sending them: each such AE becomes a peer, from any address, for addresses were
not kept until now. `xrayq peer add --replace` narrows that. A new AE is unknown.

The way back puts what is in quarantine into the queue: the release before scores whatever comes. Forward again, what
was not admitted counts nowhere again, by its reason; and an AE that sent films into quarantine alone, by the audit
trail, is no peer. Rows that a person wrote are gone, and are to be written again: the trail has them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

IDENTIFIER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
ADMITTED = "false: an unknown peer sent it; it is in quarantine, or was rejected there, and counts nowhere"

# One step in the index for each AE: DISTINCT would read every film.
SENDERS = """
WITH RECURSIVE senders(title) AS (
    SELECT min(calling_ae) FROM instance
    UNION ALL
    SELECT (SELECT min(calling_ae) FROM instance WHERE calling_ae > senders.title) FROM senders
    WHERE senders.title IS NOT NULL
)
INSERT INTO peer (calling_ae, networks, certificate_subject, certificate_sha256, rights, changed_at, changed_by)
SELECT title, '["0.0.0.0/0", "::/0"]', '', '', '["commit", "echo", "store"]', CURRENT_TIMESTAMP, 'update'
FROM senders
WHERE title IS NOT NULL AND title <> 'LOCAL'
    AND EXISTS (
        SELECT 1 FROM instance WHERE calling_ae = title AND is_film AND NOT EXISTS (
            SELECT 1 FROM audit_event WHERE instance_id = instance.id AND action = 'quarantined'
        )
    )
"""
NOT_ADMITTED = """
UPDATE instance SET admitted = false
WHERE state = 'ineligible' AND reason IN ('not_admitted', 'duplicate', 'replaced')
"""
RELEASE = """
INSERT INTO outbox (kind, instance_id, next_attempt_at)
SELECT 'score', id, received_at FROM instance WHERE state = 'quarantined' AND is_film ORDER BY id
"""


def upgrade() -> None:
    op.create_table(
        "peer",
        sa.Column("calling_ae", sa.String(16), nullable=False),
        sa.Column("networks", sa.JSON(), nullable=False, comment="from which it comes, such as 10.1.2.0/24"),
        sa.Column("certificate_subject", sa.String(256), nullable=False, comment='RFC 4514; "" for any, and for none'),
        sa.Column("certificate_sha256", sa.String(64), nullable=False, comment='hex; "" as above'),
        sa.Column("rights", sa.JSON(), nullable=False, comment="store, echo, commit"),
        sa.Column("stores_a_minute", sa.Integer(), nullable=True, comment="C-STOREs; null: no limit"),
        sa.Column("most_associations", sa.Integer(), nullable=True, comment="open at once; null: no limit of its own"),
        sa.Column("changed_at", TIME, nullable=False),
        sa.Column("changed_by", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("calling_ae", name=op.f("pk_peer")),
    )
    op.create_table(
        "quarantine",
        sa.Column("instance_id", IDENTIFIER, nullable=False),
        sa.Column("address", sa.String(64), nullable=False, comment="that it came from"),
        sa.Column(
            "why",
            sa.String(16),
            nullable=False,
            comment="what of its sender was unknown: AE, ADDRESS or CERTIFICATE",
        ),
        sa.Column("certificate_subject", sa.String(256), nullable=False, comment='that its sender showed; "" for none'),
        sa.Column("certificate_sha256", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], name=op.f("fk_quarantine_instance_id")),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_quarantine")),
    )
    op.add_column(
        "instance",
        sa.Column("admitted", sa.Boolean(), nullable=False, server_default=sa.true(), comment=ADMITTED),
    )
    op.execute(NOT_ADMITTED)
    op.execute(SENDERS)


def downgrade() -> None:
    op.execute(RELEASE)
    op.execute("UPDATE instance SET state = 'received' WHERE state = 'quarantined' AND is_film")
    op.execute(
        "UPDATE instance SET state = 'ineligible', reason = 'not_a_film', finished_at = received_at "
        "WHERE state = 'quarantined'"
    )
    op.drop_column("instance", "admitted")
    op.drop_table("quarantine")
    op.drop_table("peer")
