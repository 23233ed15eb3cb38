"""Drift in the night's page: which AE changed, in what, and how far."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from markupsafe import Markup

from model.pages.html import bullets, figure, paragraph, table
from worker.db.film_measures import UNITS
from worker.monitoring.drift import excess, untested_words
from worker.nightly.page import drift_figures

MOST_LISTED = 50
MEASURES = (
    "Brightness and contrast (shares of the display range), entropy (how many grey levels are in use, in bits) and "
    "clipped (share of pixels at one end of the display range) are of the films as displayed, distance, which has no "
    "unit, is how unlike the gate's training films they are, and probability is of the live scores."
)
NOTE = (
    "Each AE is held beside its own frozen reference. Drift is large (a population stability index beyond what chance "
    "gives; of ten bins, with three pseudo-films on either side) and sure (false discovery rate over all tests of "
    "the night). It says that films or scores changed, not why: the device, its settings, or the patients. One film of "
    "each study counts; patients who come again on other days are counted as others."
)


def section(drift: Mapping[str, Any]) -> Iterable[Markup]:
    """Parts of a section; `drift` as `worker.monitoring.drift.evaluate` gives it."""
    tests, untested, options = drift["tests"], drift["untested"], drift["options"]
    alarms = [one for one in tests if one["alarm"]]
    yield _verdict(tests, alarms)
    if tests:
        yield figure(
            drift_figures.heat_map(tests, untested, options),
            "Population stability index beyond what chance gives; shaded where chance alone would not do.",
        )
    if alarms:
        yield figure(
            drift_figures.quantiles(alarms),
            "What drifted. Line: 5 to 95 % of the films; bar: the middle half; mark: the median.",
        )
        yield _listed(alarms, "Drift")
    noted = [one for one in tests if one["note"] and not one["alarm"]]
    if noted:
        yield _listed(noted, "No alarm, but look again")
    if untested:
        yield paragraph("Not tested:")
        yield bullets(untested_words(drift))
    if references := list(_references(drift["frozen"])):
        yield table(
            ("sending AE", "bundle", "measures", "films", "from", "to", "frozen"),
            references[:MOST_LISTED],
            caption=f"Frozen references{_more(references)}; 'xrayq drift freeze' replaces one",
        )
    yield paragraph(f"{MEASURES} {NOTE} Limits: q {options['alpha']:g}, PSI beyond chance {options['psi']:g}.", "quiet")


def _verdict(tests: Sequence[Mapping[str, Any]], alarms: Sequence[Mapping[str, Any]]) -> Markup:
    senders = len({one["calling_ae"] for one in tests})
    if not tests:
        return paragraph("Nothing was tested: no AE has both a frozen reference and enough films.")
    if not alarms:
        return paragraph(f"No drift: {len(tests)} tests of {senders} sending AEs.")
    by_sender: dict[str, list[str]] = {}
    for one in alarms:
        by_sender.setdefault(one["calling_ae"], []).append(one["measure"])
    words = "; ".join(f"{name}: {', '.join(measures)}" for name, measures in by_sender.items())
    return paragraph(f"Drift in {len(by_sender)} of {senders} sending AEs. {words}.", "bad")


def _listed(tests: Sequence[Mapping[str, Any]], caption: str) -> Markup:
    rows = [
        (
            one["calling_ae"],
            ", ".join(filter(None, (one["measure"], UNITS.get(one["measure"])))),
            f"{one['films']:,}" + (f" in {one['days']} days" if one["days"] > 1 else ""),
            f"{one['reference_median']:.4g}",
            f"{one['median']:.4g}",
            f"{one['psi']:.3f}",
            f"{one['psi_by_chance']:.3f}",
            f"{one['q']:.2g}",
            one["note"],
        )
        for one in sorted(tests, key=excess, reverse=True)[:MOST_LISTED]
    ]
    columns = ("sending AE", "measure", "films", "reference median", "median", "PSI", "by chance", "q", "")
    return table(columns, rows, caption=caption + _more(tests))


def _more(rows: Sequence[object]) -> str:
    return f", the first {MOST_LISTED} of {len(rows)}; report.json has all" if len(rows) > MOST_LISTED else ""


def _references(frozen: Sequence[Mapping[str, Any]]) -> Iterable[tuple[object, ...]]:
    """One row for what was frozen together."""
    shown = ("calling_ae", "bundle", "films", "from", "to", "frozen_at")
    for about, group in groupby(
        sorted(frozen, key=lambda one: [str(one[name]) for name in shown]),
        key=lambda one: [one[name] for name in shown],
    ):
        calling_ae, bundle, films, first, last, at = about
        measures = drift_figures.in_display_order({one["measure"] for one in group})
        yield calling_ae, bundle[:12] or "any", ", ".join(measures), films, first[:10], last[:10], at[:10]
