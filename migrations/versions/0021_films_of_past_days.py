"""Films of past days, fetched from a PACS behind the live ones

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

IDENTIFIER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column(
        "instance",
        sa.Column(
            "backfilled",
            sa.Boolean(),
            nullable=False,
            server_default=sa.false(),
            comment="a backfill asked for it: an old film, and in no figure of the day on which it came",
        ),
    )
    op.add_column(
        "outbox",
        sa.Column(
            "priority",
            sa.Integer(),
            nullable=False,
            server_default="0",
            comment="lower goes first: see states.Priority",
        ),
    )
    op.create_index(op.f("ix_outbox_priority_next_attempt_at"), "outbox", ["priority", "next_attempt_at"])
    op.create_table(
        "backfill",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("pacs", sa.String(16), nullable=False, comment="its AE title, as in XRAYQ_ASK_PACS"),
        sa.Column("sends_as", sa.String(16), nullable=False, comment="AE title under which it sends"),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("rate", sa.Float(), nullable=False, comment="films a minute, at most"),
        sa.Column("hours", sa.String(11), nullable=False, comment='HH:MM-HH:MM on the clock of the site, "" for any'),
        sa.Column("way", sa.String(8), nullable=False, comment="move or get"),
        sa.Column("state", sa.String(16), nullable=False, comment="running, paused, done or cancelled"),
        sa.Column(
            "rests", sa.String(64), nullable=False, server_default="", comment="why nothing is asked for now, a code"
        ),
        sa.Column("rests_since", TIME),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0", comment="of the PACS, in a row"),
        sa.Column("next_at", TIME, nullable=False, comment="nothing is asked for before"),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("started_by", sa.String(64), nullable=False),
        sa.Column("resumed_at", TIME, nullable=False, comment="or started"),
        sa.Column("ended_at", TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backfill")),
    )
    op.create_index(
        op.f("ix_backfill_pacs"),
        "backfill",
        ["pacs"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "backfill_day",
        sa.Column("backfill_id", IDENTIFIER, nullable=False),
        sa.Column("day", sa.Date(), nullable=False, comment="Study Date"),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("next_at", TIME, nullable=False, comment="it is not asked for before"),
        sa.Column("fault", sa.String(64), nullable=False, server_default="", comment="of the last attempt, a code"),
        sa.Column("asked_at", TIME, comment="there was a whole answer; null: the PACS is still to be asked"),
        sa.Column(
            "films", sa.Integer(), nullable=False, server_default="0", comment="chest films that it has of that day"
        ),
        sa.Column("here", sa.Integer(), nullable=False, server_default="0", comment="of these, when it was asked"),
        sa.ForeignKeyConstraint(["backfill_id"], ["backfill.id"], name=op.f("fk_backfill_day_backfill_id")),
        sa.PrimaryKeyConstraint("backfill_id", "day", name=op.f("pk_backfill_day")),
    )
    op.create_table(
        "backfill_film",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("backfill_id", IDENTIFIER, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(64), nullable=False),
        sa.Column("study_instance_uid", sa.String(64), nullable=False),
        sa.Column("series_instance_uid", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False, comment="wanted, asked, quarantined, here or failed"),
        sa.Column("asked_at", TIME, comment="last; null: never. Whatever comes after that is a film of the backfill"),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0", comment="to get it, that count"),
        sa.Column("next_at", TIME, nullable=False, comment="it is not asked for before; of an asked one: then again"),
        sa.Column(
            "reason",
            sa.String(64),
            nullable=False,
            server_default="",
            comment="what the last attempt came to, a code",
        ),
        sa.Column("came_at", TIME, comment="it was found here"),
        sa.ForeignKeyConstraint(["backfill_id"], ["backfill.id"], name=op.f("fk_backfill_film_backfill_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backfill_film")),
        sa.UniqueConstraint(
            "backfill_id", "sop_instance_uid", name=op.f("uq_backfill_film_backfill_id_sop_instance_uid")
        ),
    )
    op.create_index(op.f("ix_backfill_film_sop_instance_uid"), "backfill_film", ["sop_instance_uid"])
    op.create_index(
        op.f("ix_backfill_film_backfill_id_state_next_at"), "backfill_film", ["backfill_id", "state", "next_at"]
    )
    op.create_index(op.f("ix_backfill_film_backfill_id_came_at"), "backfill_film", ["backfill_id", "came_at"])


def downgrade() -> None:
    op.drop_table("backfill_film")
    op.drop_table("backfill_day")
    op.drop_table("backfill")
    op.drop_index(op.f("ix_outbox_priority_next_attempt_at"), table_name="outbox")
    op.drop_column("outbox", "priority")
    op.drop_column("instance", "backfilled")
