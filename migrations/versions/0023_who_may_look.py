"""Users of the web page, and who is signed in

Revision ID: 0023
Revises: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.create_table(
        "web_user",
        sa.Column("name", sa.String(64), nullable=False, comment="lower case"),
        sa.Column("password_hash", sa.String(256), nullable=False, comment="argon2id"),
        sa.Column("role", sa.String(16), nullable=False, comment="viewer, reader, operator or admin"),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_web_user")),
    )
    op.create_table(
        "web_session",
        sa.Column("digest", sa.String(64), nullable=False, comment="SHA-256 of the id that the browser has, hex"),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False, comment="to the minute"),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False, comment="however often it is seen"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_web_session")),
    )
    op.create_index(op.f("ix_web_session_name"), "web_session", ["name"])
    op.create_index(op.f("ix_web_session_ends_at"), "web_session", ["ends_at"])


def downgrade() -> None:
    op.drop_table("web_session")
    op.drop_table("web_user")
