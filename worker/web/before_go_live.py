"""Before go-live: what a flag would do on a day of this site, at a threshold, from its own labelled films."""

from dataclasses import dataclass
from math import isfinite
from typing import Any

from starlette.responses import Response

from model.errors import BundleError
from model.findings import NOT_NORMAL, SPOKEN
from model.stats.site_day import FlagAt, SiteDay, has_finding, site_days
from worker.errors import NotFound
from worker.monitoring.labelled_scores import NOT_SAMPLED
from worker.web.labelled import LabelledFilms
from worker.web.page import Ask, Page
from worker.web.people import WebRole

FILMS = 200
PREVALENCE = 5.0
"""Percent; where the labels are no random sample, which would say."""
MOST_FILMS = 5000
COLUMNS, CELLS, PITCH = 25, 400, 12
"""Of the picture of a day: squares in a row, at most, and their distance."""


@dataclass(frozen=True, kw_only=True)
class Square:
    x: int
    y: int
    kind: str
    """hit, missed, false or rest"""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A day as squares, rounded to whole ones."""

    squares: tuple[Square, ...]
    each: int
    """Films that a square stands for."""
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the sliders say."""

    flag: str
    threshold: float
    prevalence: float
    """Percent."""
    films: int


def page(ask: Ask) -> Response:
    device = ask.query("device")
    try:
        found = ask.site.labelled.of(ask.site.database, ask.site.options.bundle, device)
    except BundleError:
        raise NotFound("the live bundle has no such X-ray device") from None
    flags = _flags(found)
    about: dict[str, Any] = {"bundle": found.bundle, "device": device, "devices": found.devices}
    if not flags:
        return ask.site.page("before_go_live_empty.html", ask, **about)
    points = {point.finding: point.threshold for point in found.bundle.operating_points}
    wanted = _wanted(ask, found, flags, points)
    own = points.get(wanted.flag)
    thresholds = [wanted.threshold, *([] if own is None or abs(own - wanted.threshold) < 0.0005 else [own])]
    days = site_days(
        found.site.scores,
        [FlagAt(flag=wanted.flag, threshold=threshold) for threshold in thresholds],
        prevalences=[wanted.prevalence / 100],
        films_per_day=wanted.films,
    )
    return ask.site.page(
        "before_go_live.html",
        ask,
        wanted=wanted,
        own=own,
        day=days.days[0],
        days=days.days,
        measured=days.measured[0],
        picture=picture(days.days[0], wanted.films),
        not_sampled="" if found.site.sampled else NOT_SAMPLED,
        films=found.site.scores.films,
        flags=flags,
        most_films=MOST_FILMS,
        spoken=SPOKEN,
        **about,
    )


def picture(day: SiteDay, films: int) -> Picture:
    """The films that have the finding first, flagged or missed; then the others. Half a missed film is seen."""
    each = max(1, -(-films // CELLS))
    having, missed, flags = films * day.prevalence, day.missed.value or 0.0, day.flags.value or 0.0
    lost = max(round(missed / each), int(missed >= 0.5))
    hits = max(round(having / each) - lost, 0)
    wrong = max(round((flags - having + missed) / each), 0)
    rest = max(round(films / each) - lost - hits - wrong, 0)
    kinds = ["hit"] * hits + ["missed"] * lost + ["false"] * wrong + ["rest"] * rest
    squares = tuple(
        Square(x=number % COLUMNS * PITCH, y=number // COLUMNS * PITCH, kind=kind) for number, kind in enumerate(kinds)
    )
    rows = -(-len(squares) // COLUMNS)
    return Picture(squares=squares, each=each, width=COLUMNS * PITCH, height=max(1, rows) * PITCH)


def _flags(found: LabelledFilms) -> list[str]:
    """Those of which there are labelled films with and without."""
    scores = found.site.scores
    findings = [point.finding for point in found.bundle.operating_points]
    names = dict.fromkeys([*findings, NOT_NORMAL, *scores.findings[1:]])
    return [name for name in names if len(scores) and 0 < has_finding(scores, name).sum() < len(scores)]


def _wanted(ask: Ask, found: LabelledFilms, flags: list[str], points: dict[str, float]) -> Wanted:
    """What is asked for; what is no number, or none that can be, as near to it as can be."""
    flag = ask.query("flag") if ask.query("flag") in flags else flags[0]
    scores = found.site.scores
    share = 100 * float(has_finding(scores, flag).mean()) if found.site.sampled else PREVALENCE
    return Wanted(
        flag=flag,
        threshold=round(_number(ask.query("threshold"), points.get(flag, 0.5), 0, 1), 3),
        prevalence=round(_number(ask.query("prevalence"), share, 0, 100), 1),
        films=int(_number(ask.query("films"), FILMS, 1, MOST_FILMS)),
    )


def _number(text: str, usual: float, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        return usual
    return min(max(value, least), most) if isfinite(value) else usual


PAGES = (Page(path="/before-go-live", least=WebRole.VIEWER, answer=page),)
