"""Whether a film that comes is one that a backfill asked for: an old one, which waits behind the live ones.

It goes by our own rows, and not by what the PACS says. A film that is only wanted, and that somebody sends before it is
asked for, is live. One that comes late, after the backfill gave it up or was cancelled, is not.
"""

from sqlalchemy import ColumnElement, exists, select

from worker.db.tables import backfill_film


def was_asked_for(sop_instance_uid: str) -> ColumnElement[bool]:
    """A value for the film's row: one look in an index, in the statement that inserts it."""
    asked = (backfill_film.c.sop_instance_uid == sop_instance_uid, backfill_film.c.asked_at.is_not(None))
    return exists(select(backfill_film.c.id).where(*asked))
