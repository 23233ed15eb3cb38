"""Drift in the night's page: which AE changed, in what, and how far."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby

from markupsafe import Markup

from model.pages.html import bullets, figure, paragraph, table
from worker.db.film_measures import UNITS
from worker.monitoring.drift_reference import Reference
from worker.monitoring.drift_result import LEAST_OUTSIDE, DriftResult, DriftTest, untested_words
from worker.nightly.night_report import NightReport
from worker.nightly.page import drift_charts

MOST_LISTED = 50
OUTSIDE = ("usual range", "outside", "by chance", "its q")
MEASURES = (
    "Brightness and contrast (shares of the display range), entropy (how many grey levels are in use, in bits) and "
    "clipped (share of pixels at one end of the display range) are of the films as displayed, distance, which has no "
    "unit, is how unlike the gate's training films they are, and probability is of the live scores."
)
NOTE = (
    "Each AE is held beside its own frozen reference. Drift is large (a population stability index beyond what chance "
    "gives; of ten bins, with three pseudo-films on either side) and sure (false discovery rate over all tests of "
    "the night). Outliers are films outside the range of the middle 99 % of the reference: too many of them, and as "
    "surely, are drift too, since a few films may be wrong beside many that are not. It says that films or scores "
    "changed, not why: the device, its settings, or the patients. One film of each study counts; patients who come "
    "again on other days are counted as others."
)


def section(report: NightReport) -> Iterable[Markup]:
    result = report.drift
    yield _verdict(result)
    if result.tests:
        yield figure(
            drift_charts.heat_map(result),
            "Population stability index beyond what chance gives; shaded where chance alone would not do.",
        )
    if result.alarms:
        yield figure(
            drift_charts.quantiles(result.alarms),
            "What drifted. Line: 5 to 95 % of the films; bar: the middle half; mark: the median.",
        )
        yield _listed(result.alarms, "Drift")
    noted = [test for test in result.tests if test.note and not test.alarm]
    if noted:
        yield _listed(noted, "No alarm, but look again")
    if result.untested:
        yield paragraph("Not tested:")
        yield bullets(untested_words(result))
    if references := list(_references(result.frozen)):
        yield table(
            ("sending AE", "bundle", "measures", "films", "from", "to", "frozen"),
            references[:MOST_LISTED],
            caption=f"Frozen references{_more(references)}; 'xrayq drift freeze' replaces one",
        )
    sure, large = f"{result.options.alpha:g}", f"{result.options.psi:g}"
    limits = f"Limits: q {sure}, PSI beyond chance {large}, films outside beyond chance {LEAST_OUTSIDE:.0%}."
    yield paragraph(f"{MEASURES} {NOTE} {limits}", "quiet")


def _verdict(result: DriftResult) -> Markup:
    senders = len({test.calling_ae for test in result.tests})
    if not result.tests:
        return paragraph("Nothing was tested: no AE has both a frozen reference and enough films.")
    if not result.alarms:
        return paragraph(f"No drift: {len(result.tests)} tests of {senders} sending AEs.")
    by_sender: dict[str, list[str]] = {}
    for test in result.alarms:
        by_sender.setdefault(test.calling_ae, []).append(test.measure)
    words = "; ".join(f"{name}: {', '.join(measures)}" for name, measures in by_sender.items())
    return paragraph(f"Drift in {len(by_sender)} of {senders} sending AEs. {words}.", "bad")


def _listed(tests: Sequence[DriftTest], caption: str) -> Markup:
    rows = [
        (
            test.calling_ae,
            ", ".join(filter(None, (test.measure, UNITS.get(test.measure)))),
            f"{test.films:,}" + (f" in {test.days} days" if test.days > 1 else ""),
            f"{test.reference_median:.4g}",
            f"{test.median:.4g}",
            f"{test.psi:.3f}",
            f"{test.psi_by_chance:.3f}",
            f"{test.q:.2g}",
            "{:.4g} to {:.4g}".format(*test.usual),
            f"{test.outside:.1%}",
            f"{test.outside_by_chance:.1%}",
            f"{test.outside_q:.2g}",
            test.note,
        )
        for test in sorted(tests, key=lambda test: test.excess, reverse=True)[:MOST_LISTED]
    ]
    columns = ("sending AE", "measure", "films", "reference median", "median", "PSI", "by chance", "q", *OUTSIDE, "")
    return table(columns, rows, caption=caption + _more(tests))


def _more(rows: Sequence[object]) -> str:
    return f", the first {MOST_LISTED} of {len(rows)}; report.json has all" if len(rows) > MOST_LISTED else ""


def _references(frozen: Sequence[Reference]) -> Iterable[tuple[object, ...]]:
    """One row for what was frozen together."""

    def together(reference: Reference) -> tuple[str, str, str, datetime, datetime, datetime]:
        times = (reference.first_received_at, reference.last_received_at, reference.frozen_at)
        return (reference.key.calling_ae, reference.key.bundle_digest, str(reference.films), *times)

    for (calling_ae, bundle, films, *times), group in groupby(sorted(frozen, key=together), key=together):
        measures = drift_charts.in_display_order({reference.key.measure for reference in group})
        days = (f"{moment:%Y-%m-%d}" for moment in times)
        yield calling_ae, bundle[:12] or "any", ", ".join(measures), films, *days
