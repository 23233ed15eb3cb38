"""Reading: a person labels films that chance drew, and sees the score of each when the label is in.

A label that follows the flag would make the flag look right. So what is drawn for labels is shown without its score.
"""

from datetime import UTC, datetime

from starlette.responses import Response

from model.findings import SPOKEN
from worker.db.session import reading as looking
from worker.errors import WrongState
from worker.instances import InstanceView, find
from worker.monitoring.readings import give_label, is_hidden, label_of, queue_of
from worker.web.looks import looked
from worker.web.page import Ask, Page
from worker.web.people import WebRole
from worker.web.site import go_to


def overview(ask: Ask) -> Response:
    """How many films wait for this reader."""
    with looking(ask.site.database) as connection:
        queue = queue_of(connection, ask.visit.person.name)
    return ask.site.page("reading.html", ask, queue=queue)


def following(ask: Ask) -> Response:
    """The next film that waits for this reader."""
    with looking(ask.site.database) as connection:
        queue = queue_of(connection, ask.visit.person.name)
    return go_to(f"/reading/{queue.waiting[0]}" if queue.waiting else "/reading")


def film(ask: Ask) -> Response:
    """One film to be labelled; with its score once the label is in, also where it was not drawn."""
    shown = _film(ask)
    reader = ask.visit.person.name
    with looking(ask.site.database) as connection:
        queue = queue_of(connection, reader)
        hidden = is_hidden(connection, reader, shown.id)
        label = label_of(connection, reader, shown.id)
    if label is not None:  # with its score, and perhaps without its picture
        looked(ask, shown.id)
    return ask.site.page(
        "reading_film.html",
        ask,
        film=shown,
        hidden=hidden,
        label=label,
        queue=queue,
        findings=ask.site.findings(),
        spoken=SPOKEN,
    )


def label(ask: Ask) -> Response:
    """A label is in. Raises NotFound, WrongState."""
    shown, given = _film(ask), ask.form.get("label", "")
    if given not in ask.site.findings():
        raise WrongState("choose one of the findings first")
    give_label(
        ask.site.database,
        shown.id,
        given,
        ask.visit.person.name,
        read_on=datetime.now(UTC).date(),
        actor=ask.actor,
    )
    return go_to(f"/reading/{shown.id}")


def _film(ask: Ask) -> InstanceView:
    (shown,) = find(ask.site.database, ask.path("instance"))
    return shown


PAGES = (
    Page(path="/reading", least=WebRole.READER, answer=overview),
    Page(path="/reading/next", least=WebRole.READER, answer=following),
    Page(path="/reading/{instance:int}", least=WebRole.READER, answer=film),
    Page(path="/reading/{instance:int}/label", method="POST", least=WebRole.READER, answer=label),
)
