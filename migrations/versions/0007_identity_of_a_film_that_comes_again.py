"""Identity of a film that comes again: what of it changed, and the key of the installation's digests

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

CHANGED = "of a revision: attributes of identity that differ from the revision before, keywords"
BEFORE = "SHA-256; labels name films by it"
AFTER = "keyed, see worker/db/pseudonyms.py; labels name films by it"


def upgrade() -> None:
    op.create_table(
        "secret",
        sa.Column("name", sa.String(length=32), nullable=False, comment="what it is for: digests"),
        sa.Column("value", sa.String(length=128), nullable=False, comment="hex"),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secret")),
    )
    op.add_column("instance", sa.Column("identity_changed", sa.JSON(none_as_null=True), nullable=True, comment=CHANGED))
    _say(AFTER)


def downgrade() -> None:
    _say(BEFORE)
    op.drop_column("instance", "identity_changed")
    op.drop_table("secret")


def _say(comment: str) -> None:
    if op.get_context().dialect.supports_comments:
        op.alter_column("instance", "accession_digest", comment=comment)
