"""Whether a film that comes is one of a backfill: an old one, which waits behind the live ones.

It goes by our own rows, and not by what the PACS says: a film that a backfill asked for, whoever sends it; and one that
it still wants, where the PACS sends it. Some send a whole series when they are asked for a film of it. A film that is
only wanted and that another sends, such as a mobile unit that was without a network for days, is live.
"""

from sqlalchemy import ColumnElement, exists, or_, select

from worker.db.tables import backfill, backfill_film


def of_backfill(sop_instance_uid: str, calling_ae: str) -> ColumnElement[bool]:
    """A value for the film's row: one look in an index, in the statement that inserts it."""
    comes_unasked = backfill.c.ended_at.is_(None) & (backfill.c.sends_as == calling_ae)
    return exists(
        select(backfill_film.c.id)
        .join(backfill, backfill.c.id == backfill_film.c.backfill_id)
        .where(
            backfill_film.c.sop_instance_uid == sop_instance_uid,
            or_(backfill_film.c.asked_at.is_not(None), comes_unasked),
        )
    )
