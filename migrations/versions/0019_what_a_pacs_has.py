"""What a PACS has and we do not; refused films by UID

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

IDENTIFIER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "refused_film",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("sop_instance_uid", sa.String(64), nullable=False),
        sa.Column("calling_ae", sa.String(16), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False, comment="of the C-STORE-RSP"),
        sa.Column("refused_at", TIME, nullable=False, comment="last; older ones are pruned"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refused_film")),
    )
    op.create_index(op.f("ix_refused_film_sop_instance_uid"), "refused_film", ["sop_instance_uid"])
    op.create_index(op.f("ix_refused_film_refused_at"), "refused_film", ["refused_at"])
    op.create_table(
        "pacs_answer",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("pacs", sa.String(16), nullable=False, comment="its AE title"),
        sa.Column("day", sa.Date(), nullable=False, comment="Study Date that it was asked for"),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("fault", sa.String(64), comment="why there is no whole answer, a code; null: it is whole"),
        sa.Column("films", sa.Integer(), nullable=False, comment="chest films that it has"),
        sa.Column("here", sa.Integer(), nullable=False),
        sa.Column("on_its_way", sa.Integer(), nullable=False, comment="too young to be missed"),
        sa.Column("unreadable", sa.Integer(), nullable=False, comment="matches without a valid UID"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pacs_answer")),
        sa.UniqueConstraint("pacs", "day", name=op.f("uq_pacs_answer_pacs_day")),
    )
    op.create_table(
        "missing_film",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("pacs", sa.String(16), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(64), nullable=False),
        sa.Column("study_instance_uid", sa.String(64), nullable=False),
        sa.Column("series_instance_uid", sa.String(64), nullable=False),
        sa.Column("modality", sa.String(16), nullable=False),
        sa.Column("film_at", sa.String(16), nullable=False, comment='as the PACS has it, local, "" without'),
        sa.Column("accession_digest", sa.String(64), nullable=False, comment="keyed, see worker/db/pseudonyms.py"),
        sa.Column("why", sa.String(16), nullable=False, comment="a code; whether it came since is read from instance"),
        sa.Column("status", sa.String(8), comment="of the C-STORE-RSP that refused it, in hexadecimal"),
        sa.Column("calling_ae", sa.String(16), nullable=False, comment='whose C-STORE or context was refused, ""'),
        sa.Column("found_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_missing_film")),
        sa.UniqueConstraint("pacs", "sop_instance_uid", name=op.f("uq_missing_film_pacs_sop_instance_uid")),
    )
    op.create_index(op.f("ix_missing_film_day"), "missing_film", ["day"])


def downgrade() -> None:
    op.drop_table("missing_film")
    op.drop_table("pacs_answer")
    op.drop_table("refused_film")
