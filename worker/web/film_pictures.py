"""Pictures of one film over HTTP: as displayed, maps of findings, what the network saw; and how they were drawn.

Nothing of a film leaves without its look in the audit trail. A browser may keep a picture, and must ask each time
whether it still may show it.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from starlette.responses import JSONResponse, PlainTextResponse, Response

from dicom_gateway.display import AS_SENT, Look
from dicom_gateway.notes import NOTES
from dicom_gateway.windows import Window
from worker.db.scores import ScoreView
from worker.errors import ConfigurationError, NoPicture, NotFound, WrongState
from worker.instances import InstanceView, scores_of
from worker.monitoring.readings import HIDDEN
from worker.states import Role
from worker.web.blind import is_blind
from worker.web.film import film_of, tools_of
from worker.web.looks import looked
from worker.web.page import Ask, Page
from worker.web.people import WebRole
from worker.web.pictures.faults import BUSY, NO_BUNDLE, NO_MAP, no_picture
from worker.web.pictures.film_pictures import FilmPictures, Scorer
from worker.web.pictures.values import SpooledFilm

SIDES = range(16, 16385)
"""Of a picture that is asked for, pixels."""
STATUSES = {"spool_missing": 410, "spool_damaged": 409, NO_MAP: 404, NO_BUNDLE: 409, BUSY: 503}
"""Others are the film's own: 422."""
HEADERS = {"cache-control": "private, no-cache"}


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A film whose picture is asked for."""

    view: InstanceView
    pictures: FilmPictures
    film: SpooledFilm


def picture(ask: Ask) -> Response:
    """As displayed, or by another window, black for white, or both. Raises ConfigurationError."""
    asked, side, look = _asked(ask), _side(ask), _look(ask)
    return _png(ask, asked, lambda: asked.pictures.picture(asked.film, side=side, look=look).png)


def about_picture(ask: Ask) -> Response:
    """How the film is displayed as it was sent: what a viewer begins with."""
    asked, side = _asked(ask), _side(ask)
    try:
        found = asked.pictures.picture(asked.film, side=side)
    except NoPicture as error:
        return _no_picture(error)
    looked(ask, asked.view.id)
    return JSONResponse(
        {
            "rows": found.full_rows,
            "columns": found.full_columns,
            "centre": found.window.center,
            "width": found.window.width,
            "function": found.function,
            "by": found.by,
            "least": found.least,
            "greatest": found.greatest,
            "notes": [NOTES.get(note, note) for note in found.notes],
        }
    )


def finding_map(ask: Ask) -> Response:
    """Where a finding's logit came from, as a layer over the picture of the same side. Raises NotFound, WrongState."""
    asked, side, finding = _asked(ask), _side(ask), ask.path("finding")
    scorer = _scorer(ask, asked.view)
    return _png(ask, asked, lambda: asked.pictures.map(asked.film, scorer, finding, side=side).png, scorer)


def about_maps(ask: Ask) -> Response:
    """How strong the map of each finding is beside the strongest: a weak one shows little. Raises as `finding_map`."""
    asked = _asked(ask)
    score = _live(ask, asked.view)
    scorer = _scorer_of(score)
    shares = {}
    try:
        for finding in score.findings:
            found = asked.pictures.map(asked.film, scorer, finding, side=SIDES.start)
            shares[finding] = round(min(found.most / found.strongest, 1), 3) if found.strongest > 0 else 0.0
    except NoPicture as error:
        return _no_picture(error)
    looked(ask, asked.view.id)
    return JSONResponse(shares)


def network_input(ask: Ask) -> Response:
    """What the network saw. Raises NotFound, WrongState."""
    asked = _asked(ask)
    scorer = _scorer(ask, asked.view)
    return _png(ask, asked, lambda: asked.pictures.input_image(asked.film, scorer).png, scorer)


def _in_place(answer: Callable[[Ask], Response]) -> Callable[[Ask], Response]:
    """A hundred requests of one browser are refused to it, and not to others."""

    def answered(ask: Ask) -> Response:
        places, whose = tools_of(ask).places, ask.browser
        if not places.enter(whose):
            return _no_picture(no_picture(BUSY))
        try:
            return answer(ask)
        finally:
            places.leave(whose)

    return answered


def _asked(ask: Ask) -> _Asked:
    view, tools = film_of(ask), tools_of(ask)
    return _Asked(view=view, pictures=tools.pictures, film=tools.spooled(view))


def _png(ask: Ask, asked: _Asked, draw: Callable[[], bytes], scorer: Scorer | None = None) -> Response:
    """A browser that has it already is told so, without drawing it again: the same film, question, network and release,
    the same file."""
    url = ask.request.url
    of = (version("xrayq"), asked.film.digest, url.path, url.query, str(scorer))
    tag = f'"{hashlib.sha256(repr(of).encode()).hexdigest()[:32]}"'
    if ask.request.headers.get("if-none-match") == tag and asked.film.is_there():
        looked(ask, asked.view.id)
        return Response(status_code=304, headers=HEADERS | {"etag": tag})
    try:
        drawn = draw()
    except NoPicture as error:
        return _no_picture(error)
    looked(ask, asked.view.id)
    return Response(drawn, media_type="image/png", headers=HEADERS | {"etag": tag})


def _no_picture(error: NoPicture) -> Response:
    status = STATUSES.get(error.reason, 422)
    return PlainTextResponse(str(error), status, {"retry-after": "2"} if status == 503 else None)


def _live(ask: Ask, view: InstanceView) -> ScoreView:
    """Raises WrongState where it is kept from this person; NotFound where there is none."""
    if is_blind(ask, view.id):
        raise WrongState(HIDDEN)
    live = next((score for score in scores_of(ask.site.database, view.id) if score.role is Role.LIVE), None)
    if live is None:
        raise NotFound(f"film {view.id} has no score: there is no map of it")
    return live


def _scorer(ask: Ask, view: InstanceView) -> Scorer:
    return _scorer_of(_live(ask, view))


def _scorer_of(score: ScoreView) -> Scorer:
    return Scorer(bundle_digest=score.bundle_digest, engine=score.engine)


def _side(ask: Ask) -> int | None:
    """Longest side; None for full size. Raises ConfigurationError."""
    text = ask.query("side")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) in SIDES):
        raise ConfigurationError(f"side is {SIDES.start} to {SIDES[-1]} pixels")
    return int(text)


def _look(ask: Ask) -> Look:
    """Raises ConfigurationError where a number is none, or one of the two is missing."""
    turned, centre, width = ask.query("invert") == "1", ask.query("centre"), ask.query("width")
    if not (centre or width):
        return Look(turned=True) if turned else AS_SENT
    try:
        window = Window(center=float(centre), width=float(width))
    except ValueError:
        window = None
    if window is None or not window.usable:
        raise ConfigurationError("centre and width of a window are two numbers, and the width is over 0")
    return Look(window=window, turned=turned)


PAGES = tuple(
    Page(path=f"/film/{{id:int}}/{path}", least=WebRole.VIEWER, answer=_in_place(answer), part=True)
    for path, answer in (
        ("picture.png", picture),
        ("picture.json", about_picture),
        ("map/{finding}.png", finding_map),
        ("maps.json", about_maps),
        ("input.png", network_input),
    )
)
