"""What a prediction set is: the comment of its column, where the database keeps comments

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"

BEFORE = "findings that cannot be ruled out; null where the bundle makes no sets"
AFTER = "findings of the conformal set, which rules nothing out; null where the bundle makes no sets"


def upgrade() -> None:
    _say(AFTER)


def downgrade() -> None:
    _say(BEFORE)


def _say(comment: str) -> None:
    if op.get_context().dialect.supports_comments:
        op.alter_column("score", "prediction_set", comment=comment)
