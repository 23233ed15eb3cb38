"""What PACSs have of the day and we do not, in the night's page."""

from collections.abc import Iterable

from markupsafe import Markup

from model.pages.html import paragraph, table
from worker.nightly.night_report import NightReport
from worker.nightly.page.lists import grouped, ids
from worker.nightly.words import local, shown
from worker.pacs.kept import PacsDay
from worker.pacs.words import WHAT_TO_DO, fault_in_words, why_in_words
from worker.words import counted


def section(report: NightReport) -> Iterable[Markup]:
    if not report.pacs:
        yield paragraph(
            "No PACS was asked which films it has (XRAYQ_ASK_PACS): the accounts begin with what reached us, and say "
            "nothing of a film that was never sent."
        )
        return
    rows = [
        (
            answer.pacs,
            local(answer.asked_at, report.zone),
            *(
                (shown(answer.films), shown(answer.here), shown(answer.on_its_way), _number(answer))
                if answer.fault is None
                else (
                    "",
                    "",
                    "",
                    Markup('<span class="mark">not asked: {}</span>').format(fault_in_words(answer.fault)),
                )
            ),
        )
        for answer in report.pacs
    ]
    yield table(
        ("PACS", "asked", "its chest films", "here", "may be on the way", "not here"),
        rows,
        caption="Chest films by Study Date, asked by C-FIND, beside what came under their UIDs.",
    )
    for answer in report.pacs:
        yield from _not_here(answer)
    if unreadable := sum(answer.unreadable for answer in report.pacs):
        yield paragraph(f"{counted(unreadable, 'answer')} without a valid UID could not be compared.", "mark")


def _number(answer: PacsDay) -> object:
    """When it was asked; and how many came since."""
    missing, came = len(answer.not_here), len(answer.not_here) - answer.missing
    if not missing:
        return 0
    since = f", {came:,} came since" if came else ""
    return Markup('<b class="{}">{}</b>{}').format("bad" if answer.missing else "", f"{missing:,}", since)


def _not_here(answer: PacsDay) -> Iterable[Markup]:
    groups = grouped(
        (why_in_words(film.why, film.status, film.calling_ae), WHAT_TO_DO[film.why], film.id)
        for film in answer.not_here
        if not film.came
    )
    rows = [(why, todo, ids(keys)) for (why, todo), keys in groups]
    if rows:
        yield table(
            ("why", "what to do", "missing films"),
            rows,
            caption=f"Films that {answer.pacs} has and that did not come; 'xrayq pacs list' has their UIDs.",
        )
