"""One alarm: what is wrong, what to do first, and who knows of it."""

from starlette.responses import Response

from worker.alarms.acknowledge import MOST_CHARACTERS, Acknowledgement, acknowledge
from worker.alarms.ledger import ListedAlarm, listed
from worker.alarms.rules import BY_ID
from worker.db.session import reading
from worker.errors import NotFound, WorkerError
from worker.web.operations import parts
from worker.web.page import Ask, Page
from worker.web.people import WebRole
from worker.web.site import go_to


def alarm(ask: Ask) -> Response:
    return _page(ask, _open(ask))


def know(ask: Ask) -> Response:
    """A person knows of it."""
    found = _open(ask)
    try:
        acknowledge(ask.site.database, found.rule, found.subject, why=ask.form.get("why", ""), actor=ask.actor)
    except WorkerError as error:
        return _page(ask, found, error)
    parts.of(ask).changed()
    return go_to("/operations#alarms")


def _open(ask: Ask) -> ListedAlarm:
    """Raises NotFound where it is over."""
    with reading(ask.site.database) as connection:
        for found in listed(connection, cleared=False):
            if str(found.id) == ask.path("id"):
                return found
    raise NotFound("This alarm is over, or there was none. The overview shows those that are open.")


def _page(ask: Ask, found: ListedAlarm, error: WorkerError | None = None) -> Response:
    return ask.site.page(
        "operations_alarm.html",
        ask,
        status=parts.status_of(error) if error else 200,
        wrong=str(error or ""),
        alarm=found,
        known=Acknowledgement.of_row(found.acknowledged) if found.acknowledged else None,
        meaning=BY_ID[found.rule].meaning if found.rule in BY_ID else "",
        why=ask.form.get("why", ""),
        most=MOST_CHARACTERS,
    )


PAGES = (
    Page(path="/operations/alarms/{id:int}", least=WebRole.VIEWER, answer=alarm),
    Page(path="/operations/alarms/{id:int}", method="POST", least=WebRole.OPERATOR, answer=know),
)
