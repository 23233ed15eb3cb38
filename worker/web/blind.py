"""What is kept from a person until their labels are in. Whoever may label is a reader here."""

from worker.db.session import reading
from worker.db.span import Span
from worker.monitoring.readings import is_hidden, queue_of, waits_from
from worker.web.page import Ask
from worker.web.people import WebRole


def waiting(ask: Ask) -> frozenset[int]:
    """Ids of the drawn films that wait for this person's label."""
    if not ask.visit.person.role.includes(WebRole.READER):
        return frozenset()
    with reading(ask.site.database) as connection:
        return frozenset(queue_of(connection, ask.visit.person.name).waiting)


def is_blind(ask: Ask, key: int) -> bool:
    """Whether score, flags, maps and what follows from them are hidden, of any revision of a film."""
    if not ask.visit.person.role.includes(WebRole.READER):
        return False
    with reading(ask.site.database) as connection:
        return is_hidden(connection, ask.visit.person.name, key)


def is_blind_in(ask: Ask, span: Span) -> bool:
    """Whether a film is hidden that was received in this time or ended in it: a day's report tells of both."""
    if not ask.visit.person.role.includes(WebRole.READER):
        return False
    with reading(ask.site.database) as connection:
        return waits_from(connection, ask.visit.person.name, span)
