"""What is kept from a person until their labels are in. Whoever may label is a reader here."""

from worker.db.session import reading
from worker.db.span import Span
from worker.monitoring.readings import hidden_from, is_hidden, waits_from
from worker.web.page import Ask
from worker.web.people import WebRole


def hidden(ask: Ask) -> frozenset[int]:
    """Ids of the films that are, every revision of them."""
    if not ask.visit.person.role.includes(WebRole.READER):
        return frozenset()
    with reading(ask.site.database) as connection:
        return hidden_from(connection, ask.visit.person.name)


def is_blind(ask: Ask, key: int) -> bool:
    """Whether score, flags, maps and what follows from them are hidden: a result that goes where flags go is one."""
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
