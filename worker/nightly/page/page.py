"""report.html of a night: first whether the day was good, for whoever has ten seconds; then what an administrator or a
physicist looks up."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from markupsafe import Markup

from model.pages.html import page, paragraph, section
from worker.audit.reconciliation import films_of, total
from worker.nightly.headline import Headline, Level, judge, unknown
from worker.nightly.page import alarms, corrections, drift, film_sections, late, performance
from worker.nightly.page.words import local, reached, shown, until

STYLE = Path(__file__).with_name("night.css")
SIGNS = {Level.GOOD: ("✓", "All well"), Level.LOOK: ("!", "Please look"), Level.BAD: ("✗", "Act now")}


def _drift(content: dict[str, Any]) -> Iterable[Markup]:
    return drift.section(content["drift"])


PARTS: tuple[tuple[str, str, str, Callable[[dict[str, Any]], Iterable[Markup]]], ...] = (
    ("senders", "Accounts", "Is every film accounted for?", film_sections.senders),
    ("failed", "Failed films", "Films that failed (dead letters)", film_sections.failed),
    ("corrections", "Corrections", "Films that came again with another identity", corrections.section),
    ("alarms", "Alarms", "Alarms", alarms.section),
    ("day", "Hour by hour", "The day, hour by hour", film_sections.day),
    ("flags", "Flags and scores", "Flags and scores", film_sections.flags),
    ("late", "Late films", "Films of days before that ended on this one", late.section),
    ("performance", "Performance", "Live performance", performance.section),
    ("drift", "Drift", "Do films and scores look as they used to?", _drift),
    ("force", "What scored", "What scored", film_sections.force),
    ("storage", "Disks", "Room on the disks", film_sections.storage),
    ("chain", "Audit trail", "The audit trail", film_sections.chain),
)
"""Anchor, name in the list of contents, title, and what is in it."""


def render(content: dict[str, Any]) -> str:
    """The whole page; see `content.night_content`.

    Sets content["page_without"], the parts that could not be drawn and why.
    """
    drawn = [_part(content, *part) for part in PARTS]
    content["page_without"] = [{"part": one.anchor, "reason": one.fault} for one in drawn if one.fault]
    site = f"{content['site']}: " if content["site"] else ""
    so_far = "" if content["day_over"] else f", until {until(content)}"
    day = f"{date.fromisoformat(content['date']):%A %Y-%m-%d}{so_far}"
    return page(
        f"{site}chest films of {day}",
        content["notice"],
        [_first(content, site, day), *(one.html for one in drawn)],
        more_style=STYLE.read_text(encoding="utf-8"),
    )


@dataclass(frozen=True, kw_only=True)
class Part:
    anchor: str
    html: Markup
    fault: str = ""
    """What kept it from being drawn."""


def _part(
    content: dict[str, Any], anchor: str, _: str, title: str, of: Callable[[dict[str, Any]], Iterable[Markup]]
) -> Part:
    """A part that nobody thought of in full must not cost the night its proof: then it says so."""
    try:
        return Part(anchor=anchor, html=section(anchor, title, *of(content)))
    except Exception as error:  # noqa: BLE001 - whatever a value of the day does to matplotlib, say
        fault = type(error).__name__
        said = paragraph(f"This part could not be drawn ({fault}). report.json has its numbers.", "mark")
        return Part(anchor=anchor, html=section(anchor, title, said), fault=fault)


def _first(content: dict[str, Any], site: str, day: str) -> Markup:
    """The first screen."""
    verdict = judge(content)
    body = [
        Markup('<h1>{}{}hest films of <span class="whole">{}</span></h1>').format(site, "c" if site else "C", day),
        Markup('<p class="quiet">Films received from midnight to {}, {}. Made on {}.</p>').format(
            until(content), content["zone"], local(content["made_at"], content)
        ),
        *_running(content),
        _banner(verdict),
        _tiles(content),
        *_todo(verdict),
        _contents(),
    ]
    return Markup("<header>\n{}\n</header>").format(Markup("\n").join(body))


def _running(content: dict[str, Any]) -> Iterator[Markup]:
    if not content["day_over"]:
        yield Markup(
            '<p class="running"><b>This day is not over.</b> It counts films received until {}, {}. '
            "Make the report again when the day is over.</p>"
        ).format(until(content), content["zone"])


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


def _tiles(content: dict[str, Any]) -> Markup:
    seconds, flags = content["seconds"], content["flags"]
    wrong = sum(abs(one["difference"]) for one in unknown(content, "senders"))
    films = [films_of(one) for one in content["senders"]]
    refused, other = sum(total(one["ineligible"]) for one in films), sum(one["other_objects"] for one in films)
    share = f" ({flags['flagged'] / flags['scored']:.0%})" if flags["scored"] else ""
    tiles: list[tuple[str, object, bool]] = [
        ("films received", sum(one["received"] for one in films), False),
        ("scored", flags["scored"], False),
        (f"flagged{share}", flags["flagged"], False),
        ("not eligible", refused, False),
        ("failed", len(content["failed"]), False),
        ("not accounted for", content["difference"], bool(wrong)),
        ("95 % scored within", reached(seconds["p95"]) if seconds else "–", False),
        ("in the busiest hour", content["throughput"]["received_in_an_hour"], False),
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
