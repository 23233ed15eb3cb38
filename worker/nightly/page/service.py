"""The service around the films, in the night's page: what scored, room on the disks, and the audit trail."""

from collections.abc import Iterable

from markupsafe import Markup

from model.pages.html import paragraph, table
from worker.nightly.disks import RATE_DAYS
from worker.nightly.night_report import NightReport
from worker.nightly.operations import ServiceChange
from worker.nightly.words import at_the_end, frozen, local, shown
from worker.words import size

DIGEST = 64
"""Characters. Of a digest the first twelve are shown."""


def force(report: NightReport) -> Iterable[Markup]:
    rows = [
        (scorer.bundle_digest[:12], scorer.role, scorer.engine, scorer.software_version, shown(scorer.scores))
        for scorer in report.in_force
    ]
    if rows:
        yield table(("bundle", "role", "engine", "xrayq", "scores"), rows, caption="Scores written on this day")
    else:
        yield paragraph("No score was written on this day.")
    changes = [
        (local(change.at, report.zone), change.action, change.actor, _detail(change)) for change in report.changes
    ]
    if changes:
        yield table(("time", "change", "by", "what"), changes, caption="Changes on this day")
    else:
        yield paragraph("No bundle and no reference was changed, and no label came.")


def _detail(change: ServiceChange) -> str:
    if "measures" in change.detail:
        return frozen(change.detail)
    shown = {name: str(value) for name, value in change.detail.items() if value not in (None, "")}
    return ", ".join(f"{name} {text[:12] if len(text) == DIGEST else text}" for name, text in shown.items())


def storage(report: NightReport) -> Iterable[Markup]:
    room = report.storage
    rows = [
        (name, size(disk.free), size(disk.total), f"{disk.free / disk.total:.0%}")
        for name, disk in (("spool", room.spool), ("reports", room.reports))
        if disk
    ]
    if rows:
        yield table(("folder", "free", "of", "free"), rows, caption="When this report was made")
    if room.spool is None:
        yield paragraph("The process that made this report does not see the spool.")
    since = "in the last week" if room.rate_days == RATE_DAYS else "since the first film"
    rate = f"{size(room.received)} of films came on this day, {size(room.received_a_day)} a day {since}."
    if room.days_left is not None:
        rate += (
            f" At that rate the spool reaches its reserve of {size(room.reserve)}, below which films are refused, "
            f"in {room.days_left:,.0f} days."
        )
    yield paragraph(rate)


def chain(report: NightReport) -> Iterable[Markup]:
    check = report.chain.check
    verdict = f"broken: {check.fault}" if check.fault else "whole"
    yield paragraph(f"{check.rows:,} rows, {verdict}. Its head {at_the_end(report)}:")
    yield Markup("<pre>{}</pre>").format(report.chain.anchor or "nothing was audited yet")
    yield paragraph(
        "Kept where nobody here can write, it proves later that nothing before it was changed: "
        "'xrayq audit verify --head' takes it.",
        "quiet",
    )
    if check.scores.wrong:
        yield paragraph(f"Broken: {check.scores.fault}.")
    yield paragraph(f"{check.scores.words}.")
    yield paragraph(
        "This page and report.json name films by instance id alone. instances.csv has their SOP Instance UIDs: "
        "it stays in the house.",
        "quiet",
    )
