"""report.html of a night: first whether the day was good, for whoever has ten seconds; then what an administrator or a
physicist looks up."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup

from model.notice import NOTICE
from model.pages.html import page, paragraph, section
from worker.nightly.headline import Headline, Level, judge, unknown_senders
from worker.nightly.night_report import MissingPart, NightReport
from worker.nightly.page import accounts, alarms, corrections, day, drift, pacs, performance, service
from worker.nightly.words import local, reached, shown, until

STYLE = Path(__file__).with_name("night.css")
SIGNS = {Level.GOOD: ("✓", "All well"), Level.LOOK: ("!", "Please look"), Level.BAD: ("✗", "Act now")}

Draw = Callable[[NightReport], Iterable[Markup]]
PARTS: tuple[tuple[str, str, str, Draw], ...] = (
    ("senders", "Accounts", "Is every film accounted for?", accounts.senders),
    ("pacs", "PACS", "Did every film of the PACS come?", pacs.section),
    ("failed", "Failed films", "Films that failed (dead letters)", accounts.failed),
    ("corrections", "Corrections", "Films that came again with another identity", corrections.section),
    ("alarms", "Alarms", "Alarms", alarms.section),
    ("day", "Hour by hour", "The day, hour by hour", day.hours),
    ("flags", "Flags and scores", "Flags and scores", day.flags),
    ("late", "Late films", "Films of days before that ended on this one", day.late),
    ("performance", "Performance", "Live performance", performance.section),
    ("drift", "Drift", "Do films and scores look as they used to?", drift.section),
    ("force", "What scored", "What scored", service.force),
    ("storage", "Disks", "Room on the disks", service.storage),
    ("chain", "Audit trail", "The audit trail", service.chain),
)
"""Anchor, name in the list of contents, title, and what is in it."""


@dataclass(frozen=True, kw_only=True)
class NightPage:
    html: str
    without: tuple[MissingPart, ...]
    """Parts that could not be drawn."""


@dataclass(frozen=True, kw_only=True)
class Part:
    anchor: str
    html: Markup
    fault: str = ""
    """What kept it from being drawn."""


def render(report: NightReport) -> NightPage:
    """The whole page. Its first screen says what it lacks."""
    parts = [_part(report, anchor, title, draw) for anchor, _, title, draw in PARTS]
    without = tuple(MissingPart(part=part.anchor, reason=part.fault) for part in parts if part.fault)
    site = f"{report.site}: " if report.site else ""
    so_far = "" if report.day_over else f", until {until(report)}"
    day_in_words = f"{report.day:%A %Y-%m-%d}{so_far}"
    html = page(
        f"{site}chest films of {day_in_words}",
        NOTICE,
        [_first(replace(report, page_without=without), site, day_in_words), *(part.html for part in parts)],
        more_style=STYLE.read_text(encoding="utf-8"),
    )
    return NightPage(html=html, without=without)


def _part(report: NightReport, anchor: str, title: str, draw: Draw) -> Part:
    """One section. Where its values cannot be drawn it says so, and the rest of the report is still made."""
    try:
        return Part(anchor=anchor, html=section(anchor, title, *draw(report)))
    except Exception as error:  # noqa: BLE001 - whatever a value of the day does to matplotlib, say
        fault = type(error).__name__
        words = paragraph(f"This part could not be drawn ({fault}). report.json has its numbers.", "mark")
        return Part(anchor=anchor, html=section(anchor, title, words), fault=fault)


def _first(report: NightReport, site: str, day_in_words: str) -> Markup:
    """The first screen."""
    verdict = judge(report)
    title = Markup('<h1>{}{}hest films of <span class="whole">{}</span></h1>')
    body = [
        title.format(site, "c" if site else "C", day_in_words),
        Markup('<p class="quiet">Films received from midnight to {}, {}. Made on {}.</p>').format(
            until(report), report.zone.key, local(report.made_at, report.zone)
        ),
        *_running(report),
        _banner(verdict),
        _tiles(report),
        *_todo(verdict),
        _contents(),
    ]
    return Markup("<header>\n{}\n</header>").format(Markup("\n").join(body))


def _running(report: NightReport) -> Iterator[Markup]:
    if not report.day_over:
        yield Markup(
            '<p class="running"><b>This day is not over.</b> It counts films received until {}, {}. '
            "Make the report again when the day is over.</p>"
        ).format(until(report), report.zone.key)


def _banner(verdict: Headline) -> Markup:
    sign, word = SIGNS[verdict.level]
    return Markup(
        '<div class="verdict {}"><span class="sign" aria-hidden="true">{}</span>'
        '<div><span class="word">{}</span><b>{}</b></div></div>'
    ).format(verdict.level, sign, word, verdict.headline)


def _todo(verdict: Headline) -> Iterator[Markup]:
    lines = [Markup('<li class="bad">{}</li>').format(fault) for fault in verdict.faults]
    lines += [Markup("<li>{}</li>").format(remark) for remark in verdict.remarks]
    lines += [Markup('<li class="known breaks">{}</li>').format(known) for known in verdict.known]
    if lines:
        yield Markup('<ul class="todo">{}</ul>').format(Markup("").join(lines))


def _tiles(report: NightReport) -> Markup:
    turnaround, flagged = report.turnaround, len(report.flagged)
    unknown = sum(abs(sender.difference) for sender in unknown_senders(report))
    ineligible = sum(sum(sender.ineligible_films.values()) for sender in report.senders)
    other = sum(sender.other_objects for sender in report.senders)
    unsure, scored = len(report.unsure), report.scored

    def share(films: int) -> str:
        return f" ({films / scored:.0%})" if scored else ""

    tiles: list[tuple[str, object, bool]] = [
        ("films received", sum(sender.films_received for sender in report.senders), False),
        ("scored", scored, False),
        (f"flagged{share(flagged)}", flagged, False),
        (f"unsure{share(unsure)}", unsure, False),
        ("not eligible", ineligible, False),
        ("failed", len(report.failed), False),
        ("not accounted for", report.difference, bool(unknown)),
        ("95 % scored within", reached(turnaround.seconds.p95) if turnaround.seconds else "–", False),
    ]
    if other:
        tiles.append(("other objects, not scored", other, False))
    drawn = (
        Markup('<div class="tile{}"><b>{}</b><span>{}</span></div>').format(" bad" if wrong else "", shown(value), name)
        for name, value, wrong in tiles
    )
    return Markup('<div class="tiles">{}</div>').format(Markup("").join(drawn))


def _contents() -> Markup:
    links = (Markup('<a href="#{}">{}</a>').format(anchor, name) for anchor, name, *_ in PARTS)
    return Markup('<nav aria-label="Sections">{}</nav>').format(Markup(" ").join(links))
