"""What is no film has a row: which instances are films, and which have a file in the spool

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    for name, comment in (
        ("is_film", "false: of a SOP class that can never be one"),
        ("in_spool", "false: what came was not kept"),
    ):
        op.add_column(
            "instance", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.true(), comment=comment)
        )
    op.create_index(
        op.f("ix_instance_calling_ae_is_film_received_at"), "instance", ["calling_ae", "is_film", "received_at"]
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_instance_calling_ae_is_film_received_at"), "instance")
    op.drop_column("instance", "in_spool")
    op.drop_column("instance", "is_film")
