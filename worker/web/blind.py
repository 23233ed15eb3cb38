"""What is kept from a person until their labels are in. Whoever may label is a reader here."""

from datetime import date, timedelta

from worker.db.session import reading
from worker.db.span import Span
from worker.monitoring.readings import HiddenTime, hidden_from, hidden_times, is_hidden
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
    """Whether a film is hidden that was received in this time, or before it and ended since it began: a day's report
    tells of both."""
    return any(time.start < span.end and time.end >= span.start for time in _times(ask))


def blind_days(ask: Ask) -> frozenset[date]:
    """Days, in the site's zone, on which a hidden film was received, waited or ended: where few films come, the number
    of flags tells its flag."""
    zone, days = ask.site.options.zone, set()
    for time in _times(ask):
        day = time.start.astimezone(zone).date()
        while day <= time.end.astimezone(zone).date():
            days.add(day)
            day += timedelta(days=1)
    return frozenset(days)


def _times(ask: Ask) -> list[HiddenTime]:
    if not ask.visit.person.role.includes(WebRole.READER):
        return []
    with reading(ask.site.database) as connection:
        return hidden_times(connection, ask.visit.person.name)
