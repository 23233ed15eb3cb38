"""Who must not see a film's score yet: a reader for whom it was drawn, until that reader's label is in.

A score that a reader sees steers the label, and live rates are made of these labels.
"""

from sqlalchemy import Connection, select

from worker.db.tables import instance, label_sample, truth
from worker.monitoring.label_sample import last_reset
from worker.web.people import Person, WebRole

HIDDEN = "drawn for labels: hidden until you label it"


def is_blind(connection: Connection, person: Person, instance_id: int) -> bool:
    """Whether score, flags, map, and what follows from them are hidden from this person.

    Whoever may label is a reader here. A draw holds for every revision of its film, as live rates take the newest one;
    draws before the last reset count no more. A label names the film by UID, or by its accession number.
    """
    if not person.role.includes(WebRole.READER):
        return False
    film = instance.alias()
    named = connection.execute(
        select(film.c.sop_instance_uid, film.c.accession_digest).where(film.c.id == instance_id)
    ).one_or_none()
    if named is None:
        return False
    drawn = (
        select(label_sample.c.id)
        .join(film, film.c.id == label_sample.c.instance_id)
        .where(film.c.sop_instance_uid == named.sop_instance_uid)
    )
    if reset := last_reset(connection):
        drawn = drawn.where(label_sample.c.drawn_at >= reset.at)
    if connection.execute(drawn.limit(1)).first() is None:
        return False
    of_film = truth.c.sop_instance_uid == named.sop_instance_uid
    if named.accession_digest:
        of_film |= truth.c.accession_digest == named.accession_digest
    labelled = select(truth.c.id).where(truth.c.reader == person.name, of_film)
    return connection.execute(labelled.limit(1)).first() is None
