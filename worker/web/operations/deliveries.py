"""Results on their way to PACS and RIS: those of one film at each destination; sent again where they were given up.

Mail and webhooks take flags alone, so where a result goes is kept from whoever is to label its film, as the score is.
"""

from starlette.responses import Response

from worker.db.session import snapshot
from worker.errors import WorkerError, WrongState
from worker.instances import find
from worker.monitoring.readings import HIDDEN
from worker.reporting import resend as again
from worker.reporting.faults import in_words
from worker.reporting.listing import beside_settings, of_instance
from worker.reporting.resend import Resent
from worker.web.blind import hidden, is_blind
from worker.web.operations import parts
from worker.web.page import Ask, Page
from worker.web.people import WebRole
from worker.web.site import go_to


def delivery(ask: Ask) -> Response:
    """What became of the results of one film."""
    return _page(ask)


def resend(ask: Ask) -> Response:
    """They are sent again, to where they go now."""
    (film,) = find(ask.site.database, ask.path("id"))
    if is_blind(ask, film.id):
        raise WrongState(HIDDEN)
    try:
        _again(ask, film.id)
    except WorkerError as error:
        return _page(ask, error)
    parts.of(ask).changed()
    return go_to(f"/operations/deliveries/{ask.path('id')}?sent=yes")


def confirm(ask: Ask) -> Response:
    """All that was given up, before it is sent again."""
    return _all(ask)


def resend_all(ask: Ask) -> Response:
    sent, left = 0, []
    for key in _undelivered(ask, hidden(ask))[: parts.MOST_AT_ONCE]:
        try:
            sent += bool(_again(ask, key).destinations)
        except WorkerError as error:
            left.append(str(error))
    parts.of(ask).changed()
    return _all(ask, sent=sent, left=tuple(left))


def _undelivered(ask: Ask, kept: frozenset[int]) -> list[int]:
    ids = again.undelivered(ask.site.database, parts.of(ask).options.routes)
    return [key for key in ids if key not in kept]


def _again(ask: Ask, key: int) -> Resent:
    options = parts.of(ask).options
    return again.resend(ask.site.database, key, options.routes, default=options.default, actor=ask.actor)


def _all(ask: Ask, *, sent: int | None = None, left: tuple[str, ...] = ()) -> Response:
    kept = hidden(ask)
    return ask.site.page(
        "operations_resend.html",
        ask,
        status=409 if left else 200,
        ids=_undelivered(ask, kept),
        left_out=bool(kept),
        most=parts.MOST_AT_ONCE,
        sent=sent,
        left=left,
    )


def _page(ask: Ask, error: WorkerError | None = None) -> Response:
    (film,) = find(ask.site.database, ask.path("id"))
    names = [destination.name for destination in parts.of(ask).options.routes.every]
    blind = is_blind(ask, film.id)
    with snapshot(ask.site.database) as connection:
        results = [] if blind else beside_settings(of_instance(connection, film.id), names)
    return ask.site.page(
        "operations_delivery.html",
        ask,
        status=parts.status_of(error) if error else 200,
        wrong=str(error or ""),
        told=ask.query("sent") == "yes",
        film=film,
        blind=HIDDEN if blind else "",
        results=results,
        why=in_words,
    )


PAGES = (
    Page(path="/operations/deliveries/undelivered", least=WebRole.OPERATOR, answer=confirm),
    Page(path="/operations/deliveries/undelivered", method="POST", least=WebRole.OPERATOR, answer=resend_all),
    Page(path="/operations/deliveries/{id:int}", least=WebRole.VIEWER, answer=delivery),
    Page(path="/operations/deliveries/{id:int}", method="POST", least=WebRole.OPERATOR, answer=resend),
)
