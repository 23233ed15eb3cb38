"""Films that came again as another patient's, study's or side's, in the night's page."""

from collections.abc import Iterable
from zoneinfo import ZoneInfo

from markupsafe import Markup

from dicom_gateway.revision import spoken
from model.findings import spoken_findings
from model.pages.html import paragraph, table
from worker.nightly.corrections import EarlierFilm, IdentityChange, parted
from worker.nightly.night_report import NightReport
from worker.nightly.words import local, shown

MOST_LISTED = 200


def section(report: NightReport) -> Iterable[Markup]:
    changed, unread = parted(report.identity_changed)
    if not (changed or unread):
        yield paragraph("None.")
    if changed:
        yield paragraph(
            "The same SOP Instance UID came again, and an attribute says that it belongs to another patient, study or "
            "side. Both films were kept and scored; the newer one is in force. A score of the earlier film was given "
            "under the identity before: make sure that nobody uses it. 'xrayq instance show' with the SOP Instance UID "
            "has both."
        )
        yield from _listed(changed, report.zone, "Films that came again with another identity")
    if unread:
        yield paragraph(
            "The same SOP Instance UID came again, and the earlier file could not be read: it is gone from the spool, "
            "as where that was cleaned, or damaged. Nobody can tell whether these are the same films. They were kept "
            "and scored anew."
        )
        yield from _listed(unread, report.zone, "Films that came again and could not be compared")
    if report.demographics_changed:
        counts = ", ".join(f"{ae} {shown(number)}" for ae, number in report.demographics_changed.items())
        yield paragraph(
            f"Sent again with another name or sex of the same Patient ID, which is taken as a correction of the "
            f"patient's data: {counts}. These films were not scored again."
        )


def _listed(films: list[IdentityChange], zone: ZoneInfo, caption: str) -> Iterable[Markup]:
    rows = [
        (
            film.calling_ae,
            str(film.id),
            local(film.received_at, zone),
            spoken(film.identity_changed),
            Markup("<br>").join(_became(earlier) for earlier in film.earlier),
        )
        for film in films[:MOST_LISTED]
    ]
    yield table(("sending AE", "instance", "received", "what changed", "earlier instances"), rows, caption=caption)
    if len(films) > MOST_LISTED:
        yield paragraph(f"And {len(films) - MOST_LISTED:,} more, in report.json.")


def _became(earlier: EarlierFilm) -> str:
    flags = f", flagged {spoken_findings(earlier.flags)}" if earlier.flags else ""
    return f"{earlier.id}: {earlier.state}{flags}{', unsure' if earlier.unsure else ''}"
