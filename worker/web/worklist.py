"""The worklist: films, the most urgent first; filters in the URL; search by what only a form may carry."""

from datetime import datetime

from sqlalchemy import Engine, select
from starlette.responses import HTMLResponse, Response

from model.findings import SPOKEN
from worker.db.pseudonyms import accession_digest, digest_key
from worker.db.session import reading, snapshot
from worker.db.tables import instance
from worker.errors import Busy, NotFound, WrongState
from worker.monitoring.readings import HIDDEN
from worker.states import State
from worker.web.blind import hidden
from worker.web.looks import looked
from worker.web.page import Ask, Page
from worker.web.people import WebRole
from worker.web.site import go_to
from worker.web.worklist_films import MOST_FILMS, films_of
from worker.web.worklist_filters import LIVE, ORDERS, Filters, is_uid, saved_views

BUSY = "Too many lists are asked for now, or this one takes long: try again in a moment, with fewer days or filters."


def worklist(ask: Ask) -> Response:
    """The films, or only their rows where htmx asks for them."""
    filters = Filters.of(ask.request.query_params)
    now = datetime.now(ask.site.options.zone)
    try:
        rows = _rows(ask, filters, now)
    except Busy:  # a page that refreshes itself keeps the rows that it has
        return ask.site.page("fault.html", ask, status=503, text=BUSY, code=503)
    again = ask.request.headers.get("hx-history-restore-request") == "true"
    if ask.of_htmx and not again:
        answer = HTMLResponse(rows)
        if ask.request.headers.get("hx-source", "").startswith("form"):
            answer.headers["hx-push-url"] = filters.link()  # without the fields that are empty
        return answer
    return ask.site.page(
        "worklist.html",
        ask,
        rows=rows,
        filters=filters,
        senders=_senders(ask.site.database),
        saved=saved_views(now.date()),
        orders=ORDERS,
        kinds=LIVE,
        states=list(State),
        spoken=SPOKEN,
        label_names=_names(ask),
    )


def search(ask: Ask) -> Response:
    """A film by its UID, its study's UID or its Accession Number: none of them goes into a URL or the audit trail. A
    search is a look at each film that it shows.

    Raises NotFound, WrongState.
    """
    text = ask.form.get("text", "").strip()
    if not text or len(text) > 64:
        raise WrongState("type a UID or an Accession Number of at most 64 characters")
    column, name, value = "accession_digest", "number", ""
    if is_uid(text):
        with reading(ask.site.database) as connection:
            found = select(instance.c.id).where(instance.c.sop_instance_uid == text)
            newest = connection.execute(found.order_by(instance.c.revision.desc()).limit(1)).scalar_one_or_none()
        if newest is not None:
            return go_to(f"/film/{newest}")
        column, name, value = "study_instance_uid", "study", text
    else:
        value = accession_digest(digest_key(ask.site.database), text)
    with reading(ask.site.database) as connection:
        one = connection.execute(select(instance.c.id).where(instance.c[column] == value).limit(1)).scalar_one_or_none()
    if one is None:
        raise NotFound("No film has this UID or Accession Number. Type it as it stands in the header, whole.")
    filters = Filters(**{name: str(one)})  # type: ignore[arg-type]
    with snapshot(ask.site.database, long=False) as connection:
        films = films_of(connection, filters, ask.site.options.zone, hidden(ask), ()).films
    for film in films:
        looked(ask, film.id)
    return go_to(filters.link())


def _rows(ask: Ask, filters: Filters, now: datetime) -> str:
    """Nothing in them is of one person but what is hidden, so whoever sees the same films shares them. Raises Busy."""
    site = ask.site
    # What a person does is seen at once; what refreshes itself may be as old as the last look.
    refreshed = ask.request.headers.get("hx-source", "").startswith("section")
    number = site.changes.recent() if refreshed else site.changes.look()
    kept = hidden(ask)

    def made() -> str:
        with snapshot(site.database, long=False) as connection:
            films = films_of(connection, filters, site.options.zone, kept, site.options.urgent)
        template = site.templates.get_template("worklist_rows.html")
        return template.render(
            films=films, filters=filters, now=now, orders=ORDERS, spoken=SPOKEN, hidden_words=HIDDEN, most=MOST_FILMS
        )

    minute = int(now.timestamp() // 60)  # waiting times are shown in minutes
    return site.views.get((number, minute, filters, kept), made)


def _names(ask: Ask) -> tuple[str, ...]:
    try:
        return ask.site.findings()
    except NotFound:
        return ()


def _senders(database: Engine) -> list[str]:
    """By the index of (calling_ae, received_at): one step an AE, not one a film."""
    senders: list[str] = []
    following = select(instance.c.calling_ae).order_by(instance.c.calling_ae).limit(1)
    with reading(database) as connection:
        while len(senders) < 200:
            last = following.where(instance.c.calling_ae > senders[-1]) if senders else following
            name = connection.execute(last).scalar_one_or_none()
            if name is None:
                break
            senders.append(name)
    return senders


PAGES = (
    Page(path="/", least=WebRole.VIEWER, answer=worklist),
    Page(path="/search", method="POST", least=WebRole.VIEWER, answer=search),
)
