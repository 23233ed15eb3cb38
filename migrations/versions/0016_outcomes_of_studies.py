"""Outcomes of studies, also of those that are there

Revision ID: 0016
Revises: 0015

A study whose films have ended is complete. One with a film that waits is left to the relay, which looks at it at once.
The audit trail gets no event of studies that were complete before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

IDENTIFIER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)

# The order of films, and what decides, are those of `worker/studies/outcome.py`; a test holds the two together.
FILL = """
WITH newest AS (
    SELECT * FROM (
        SELECT id, study_instance_uid, state, reason,
            min(id) OVER (PARTITION BY sop_instance_uid) AS first_id,
            row_number() OVER (PARTITION BY sop_instance_uid ORDER BY revision DESC) AS place
        FROM instance WHERE is_film
    ) AS revisions WHERE place = 1 AND study_instance_uid <> ''
), scored AS (
    SELECT newest.*, score.id AS score_id, score.bundle_digest,
        coalesce(json_array_length(score.prediction_set) <> 1, false) AS unsure,
        CASE WHEN score.id IS NOT NULL THEN 0
             WHEN newest.state IN ('failed', 'scored', 'reported') THEN 1
             ELSE 2 END AS kind
    FROM newest
    LEFT JOIN score ON score.instance_id = newest.id AND score.role = 'live'
        AND newest.state IN ('scored', 'reported')
), deciding AS (
    SELECT * FROM (
        SELECT scored.*,
            row_number() OVER (PARTITION BY study_instance_uid ORDER BY kind, first_id DESC) AS turn,
            count(*) OVER (PARTITION BY study_instance_uid) AS films,
            sum(CASE WHEN state = 'failed' THEN 1 ELSE 0 END) OVER (PARTITION BY study_instance_uid) AS failed,
            sum(CASE WHEN state = 'received' THEN 1 ELSE 0 END) OVER (PARTITION BY study_instance_uid) AS waiting
        FROM scored
    ) AS ordered WHERE turn = 1
), came AS (
    SELECT study_instance_uid, min(received_at) AS first_at, max(received_at) AS last_at,
        coalesce(max(finished_at), max(received_at)) AS ended_at,
        count(DISTINCT CASE WHEN is_film THEN NULL ELSE sop_instance_uid END) AS other_objects
    FROM instance WHERE study_instance_uid <> '' GROUP BY study_instance_uid
)
INSERT INTO study_outcome (
    study_instance_uid, first_received_at, last_received_at, quiet_until, due_at,
    complete_at, version, changed_at, outcome, reason, used_instance_id, bundle_digest, films, failed, other_objects)
SELECT came.study_instance_uid, first_at, last_at, last_at, NULL,
    ended_at, 1, ended_at,
    CASE WHEN kind = 0 AND EXISTS (SELECT 1 FROM finding_score WHERE score_id = deciding.score_id AND flag)
            THEN 'flagged'
         WHEN kind = 0 AND unsure THEN 'unsure'
         WHEN kind = 0 THEN 'no_flag'
         WHEN kind = 1 THEN 'failed'
         ELSE 'not_analysed' END,
    CASE WHEN kind = 0 THEN NULL
         WHEN state IN ('scored', 'reported') THEN 'score_missing'
         WHEN kind IN (1, 2) THEN reason
         WHEN other_objects > 0 THEN 'not_a_film'
         ELSE 'moved' END,
    CASE WHEN kind = 0 THEN id END, bundle_digest, coalesce(films, 0), coalesce(failed, 0), other_objects
FROM came
LEFT JOIN deciding ON deciding.study_instance_uid = came.study_instance_uid
WHERE coalesce(waiting, 0) = 0
ORDER BY first_at, came.study_instance_uid
"""
OPEN = """
INSERT INTO study_outcome (
    study_instance_uid, first_received_at, last_received_at, quiet_until, due_at,
    version, outcome, films, failed, other_objects)
SELECT study_instance_uid, min(received_at), max(received_at), max(received_at), max(received_at),
    0, 'waiting', 0, 0, 0
FROM instance
WHERE study_instance_uid <> '' AND NOT EXISTS (
    SELECT 1 FROM study_outcome WHERE study_outcome.study_instance_uid = instance.study_instance_uid)
GROUP BY study_instance_uid
ORDER BY min(received_at), study_instance_uid
"""
"""What waits."""


def upgrade() -> None:
    op.create_table(
        "study_outcome",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("study_instance_uid", sa.String(64), nullable=False, comment="whoever sent it: one row"),
        sa.Column("first_received_at", TIME, nullable=False),
        sa.Column("last_received_at", TIME, nullable=False, comment="of its newest object, duplicates not counted"),
        sa.Column("quiet_until", TIME, nullable=False, comment="when its newest object is XRAYQ_STUDY_SECONDS old"),
        sa.Column("due_at", TIME, comment="open, and looked at then; null: complete"),
        sa.Column("complete_at", TIME, comment="last taken as complete; null before the first time"),
        sa.Column(
            "version",
            sa.Integer(),
            nullable=False,
            comment="0 before the first time, plus 1 with each change of outcome",
        ),
        sa.Column("changed_at", TIME, comment="when this version was made"),
        sa.Column(
            "outcome",
            sa.String(16),
            nullable=False,
            comment="waiting, flagged, no_flag, unsure, not_analysed or failed",
        ),
        sa.Column("reason", sa.String(64), comment="why not_analysed or failed, a code"),
        sa.Column("used_instance_id", IDENTIFIER, comment="the film whose score is the outcome"),
        sa.Column("bundle_digest", sa.String(64), comment="of that score"),
        sa.Column("films", sa.Integer(), nullable=False, comment="each in its newest revision"),
        sa.Column("failed", sa.Integer(), nullable=False, comment="of the films"),
        sa.Column("other_objects", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["used_instance_id"], ["instance.id"], name=op.f("fk_study_outcome_used_instance_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study_outcome")),
        sa.UniqueConstraint("study_instance_uid", name=op.f("uq_study_outcome_study_instance_uid")),
    )
    op.create_index(op.f("ix_study_outcome_due_at"), "study_outcome", ["due_at"])
    op.create_index(op.f("ix_instance_study_instance_uid"), "instance", ["study_instance_uid"])
    if op.get_bind().dialect.name == "postgresql":
        # It cannot know how many rows a CTE gives, expects few, and joins them one by one: hours instead of seconds.
        op.execute("SET LOCAL enable_nestloop = off")
    op.execute(FILL)
    op.execute(OPEN)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL enable_nestloop TO DEFAULT")
        op.execute("ANALYZE study_outcome")


def downgrade() -> None:
    op.drop_index(op.f("ix_instance_study_instance_uid"), "instance")
    op.drop_table("study_outcome")
