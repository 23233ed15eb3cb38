"""Alarms in the night's page: what this report found, what stood on its day, and who did not hear of it."""

from collections.abc import Iterable

from markupsafe import Markup

from model.pages.html import paragraph, table
from worker.alarms.acknowledge import Acknowledgement
from worker.alarms.faults import in_words
from worker.nightly.headline import with_reason
from worker.nightly.night_report import NightReport
from worker.nightly.page.lists import whole
from worker.nightly.words import at_the_end, local


def section(report: NightReport) -> Iterable[Markup]:
    if report.conditions:
        yield _found(report)
    if report.alarms:
        yield _stood(report)
    if not report.conditions and not report.alarms:
        yield paragraph("None stood on this day.")
    if report.undelivered:
        yield _undelivered(report)


def _found(report: NightReport) -> Markup:
    known = report.known
    rows = [
        (
            condition.rule,
            _about(condition.subject),
            _what(condition.text, known.get((condition.rule, condition.subject)), report),
        )
        for condition in report.conditions
    ]
    return table(("rule", "about", "what"), rows, caption="Found by this report")


def _stood(report: NightReport) -> Markup:
    rows = [
        (
            alarm.rule,
            _about(alarm.subject),
            whole(local(alarm.raised_at, report.zone)),
            whole(local(alarm.cleared_at, report.zone)) if alarm.cleared_at else "",
            "open" if alarm.open_at_end else "over",
            _what(alarm.text, alarm.acknowledged, report),
        )
        for alarm in report.alarms
    ]
    columns = ("rule", "about", "raised", "cleared", at_the_end(report), "what")
    return table(columns, rows, caption="Alarms that stood at some time of this day")


def _undelivered(report: NightReport) -> Markup:
    rows = [
        (
            whole(local(message.at, report.zone)),
            message.channel,
            message.rule,
            _about(message.subject),
            message.state,
            in_words(message.reason),
        )
        for message in report.undelivered
    ]
    return table(
        ("given up", "channel", "rule", "about", "message", "why"),
        rows,
        caption="Messages about alarms that did not arrive; 'xrayq alarm test' tries it now",
    )


def _what(text: str, known: Acknowledgement | None, report: NightReport) -> Markup:
    return Markup('<span class="breaks">{}</span>').format(with_reason(text, known, report.zone))


def _about(subject: str) -> str:
    return subject or "the service"
