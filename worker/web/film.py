"""The page of one film: what it is, what was said of it, what was sent, and its life from the audit trail."""

from collections.abc import Sequence

from starlette.responses import Response

from dicom_gateway.revision import spoken
from model.findings import SPOKEN
from worker.db import film_measures
from worker.db.session import reading
from worker.dead_letters import in_words
from worker.errors import Unhealthy, WrongState
from worker.instances import HistoryEvent, InstanceView, find, history, reject, requeue, scores_of
from worker.monitoring.readings import HIDDEN, labels_of
from worker.reporting import listing
from worker.states import NOT_A_FILM, State, sources
from worker.status.film_life import happened, lines_of, why_not_scored
from worker.web.blind import is_blind
from worker.web.film_scores import WIDTH, shown
from worker.web.film_tools import FilmTools
from worker.web.looks import looked
from worker.web.page import Ask, Page
from worker.web.people import WebRole
from worker.web.site import go_to

ARRIVAL = ("received", "revision", "duplicate", "quarantined", "admitted", "requeued")
"""Events that tell nothing of a score: all that a reader sees of a film that is to be labelled."""
LOOK = "film_viewed"
SIDE = 1000
"""Longest side of the picture that the page begins with, pixels: enough for a screen."""


def film(ask: Ask) -> Response:
    """Every look at it is in the audit trail before it is shown."""
    engine, view = ask.site.database, film_of(ask)
    looked(ask, view.id)
    blind = is_blind(ask, view.id)
    events = history(engine, view.id)
    with reading(engine) as connection:
        measured = film_measures.of_film(connection, view.id)
        results = listing.of_instance(connection, view.id)
        labels = labels_of(connection, view.id)
    person = ask.visit.person
    return ask.site.page(
        "film.html",
        ask,
        film=view,
        blind=HIDDEN if blind else "",
        scores=[] if blind else [shown(score) for score in scores_of(engine, view.id)],
        why=_why(view),
        measured=measured,
        units=film_measures.UNITS,
        results=[] if blind else results,
        labels=[] if blind else labels,
        revisions=find(engine, view.sop_instance_uid),
        spoken_keywords=spoken,
        life=[(event, happened(event), list(lines_of(event))) for event in _told(events, blind=blind)],
        looks=[event for event in events if event.action == LOOK],
        may_read=person.role.includes(WebRole.READER),
        may_operate=person.role.includes(WebRole.OPERATOR),
        rejectable=view.state in sources(State.INELIGIBLE),
        viewer=ask.site.films.viewer_of(view) if ask.site.films else "",
        no_picture=_no_picture(ask, view),
        side=SIDE,
        findings=[] if blind else list(view.probabilities or ()),
        width=WIDTH,
        spoken=SPOKEN,
    )


def requeue_film(ask: Ask) -> Response:
    """Raises NotFound, WrongState."""
    key = int(ask.path("id"))
    requeue(ask.site.database, key, ask.actor)
    return go_to(f"/film/{key}")


def reject_film(ask: Ask) -> Response:
    """Where it corrects a film whose result was told, that is taken back. Raises NotFound, WrongState."""
    key = int(ask.path("id"))
    back = reject(ask.site.database, key, ask.actor, tools_of(ask).take_back).back
    if not (back.told or back.not_told):
        return go_to(f"/film/{key}")
    return ask.site.page("film_taken_out.html", ask, key=key, back=back)


def replay_film(ask: Ask) -> Response:
    """Its scores once more, beside those stored; nothing is written but the look. Raises WorkerError."""
    view = film_of(ask)
    if is_blind(ask, view.id):
        raise WrongState(HIDDEN)
    again = tools_of(ask).replayed(view)
    looked(ask, view.id)
    return ask.site.page("film_replay.html", ask, film=view, again=again, spoken=SPOKEN)


def film_of(ask: Ask) -> InstanceView:
    """Raises NotFound."""
    (view,) = find(ask.site.database, ask.path("id"))
    return view


def tools_of(ask: Ask) -> FilmTools:
    """Raises Unhealthy."""
    if ask.site.films is None:
        raise Unhealthy("this page was started without what that needs")
    return ask.site.films


def _told(events: Sequence[HistoryEvent], *, blind: bool) -> list[HistoryEvent]:
    return [event for event in events if event.action != LOOK and (not blind or event.action in ARRIVAL)]


def _no_picture(ask: Ask, view: InstanceView) -> str:
    """Why there is no picture, as far as that is known without decoding it; "" where there may be one."""
    if view.reason == NOT_A_FILM:
        return f"It is no film ({view.sop_class}): there is no picture of it."
    if not view.in_spool:
        return "What came was not kept: there is no picture of it."
    if ask.site.films is None:
        return "This page was started without pictures."
    try:
        there = ask.site.films.spooled(view).path.exists()
    except OSError:
        return "The spool cannot be read now: try again in a moment."
    if not there:
        return "The film is not in the spool any more: look at it in the PACS."
    return ""


def _why(view: InstanceView) -> str:
    """Why there is no score and, of a dead letter, what to do; "" where there is no reason."""
    if not view.reason:
        return ""
    return in_words(view.reason, view.id) if view.state == State.FAILED else why_not_scored(view.reason)


PAGES = (
    Page(path="/film/{id:int}", least=WebRole.VIEWER, answer=film),
    Page(path="/film/{id:int}/requeue", least=WebRole.OPERATOR, answer=requeue_film, method="POST"),
    Page(path="/film/{id:int}/reject", least=WebRole.OPERATOR, answer=reject_film, method="POST"),
    Page(path="/film/{id:int}/replay", least=WebRole.OPERATOR, answer=replay_film, method="POST"),
)
