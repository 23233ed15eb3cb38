"""Live flags and probabilities against readers' labels, in the night's page."""

from collections.abc import Iterable, Iterator

from markupsafe import Markup

from model.findings import SPOKEN
from model.pages.html import figure, paragraph, table
from model.stats.estimate import Proportion
from worker.monitoring.live_labels import StatedProbability
from worker.monitoring.live_rates import COMPLETE, DeviceRates, FindingRates, OtherLabels
from worker.nightly.night_report import NightReport
from worker.nightly.page import charts
from worker.nightly.words import in_films, local, shown

LIES = {True: "within", False: "outside", None: "–"}


def section(report: NightReport) -> Iterable[Markup]:
    performance = report.performance
    if performance is None:
        yield paragraph(report.performance_missing)
        return
    rates, samples = performance.rates, [part.sample for part in performance.rates.parts]
    drawn, labelled, disputed, unread = (
        sum(getattr(sample, count) for sample in samples) for count in ("drawn", "labelled", "disputed", "unread")
    )
    yield paragraph(
        f"{in_films(drawn)} of the {rates.scored:,} that bundle {performance.name} {performance.version} scored "
        f"so far {'was' if drawn == 1 else 'were'} drawn at random: {labelled:,} labelled, readers "
        f"disagree on {disputed:,}, {unread:,} not read."
    )
    if rates.since:
        yield paragraph(f"Counted since {local(rates.since, report.zone)}, the last reset: {rates.reason}")
    if not drawn:
        yield paragraph("No rate and no alarm: 'xrayq labels sample' draws films for readers.", "mark")
    else:
        for part in rates.parts:
            yield from _sample(part, several=len(samples) > 1)
        yield _stated(performance.calibration)
    if rates.others.labelled or rates.others.disputed:
        yield _others(rates.others)


def _sample(part: DeviceRates, *, several: bool) -> Iterator[Markup]:
    """Args: several: whether the bundle has calibrations of devices, so that the parts must be told apart."""
    findings = part.sample.findings
    which = f", films of device {part.device}" if part.device else ", films of no such device" if several else ""
    if several and not part.sample.drawn:
        yield paragraph(f"Random sample{which}: none was drawn yet.")
        return
    if not part.sample.complete:
        yield paragraph(
            f"Fewer than {100 * COMPLETE:.0f} % of the drawn films were read: the rates are those of the films that "
            "readers chose to read first. The alarm takes each film that was not read as what would speak most against "
            "it.",
            "mark",
        )
    if findings:
        yield figure(
            charts.rates(findings),
            "Point and line: how often the flag is right, with its exact 95 % interval. Grey: where it was calibrated. "
            "A cross: it left.",
        )
    least = max(
        (one.rate.alarm_from for finding in findings for one in finding.by_label if one.rate.calibrated), default=0
    )
    yield table(
        ("flag", "films labelled", "rate", "now", "95 % interval", "right", "of films", "calibrated", "evidence", ""),
        _rates(findings),
        caption=f"Live flags on the random sample{which}. Evidence that a rate left where it was calibrated raises the "
        f"alarm from {least:.0f} on. No interval of the calibration: the bundle does not say it by label, so no alarm",
    )
    yield table(
        ("flag", "flagged films that have the finding", "other films that do not"),
        [
            (SPOKEN.get(finding.finding, finding.finding), _share(finding.ppv), _share(finding.npv))
            for finding in findings
        ],
        caption=f"What a flag, or none, means at this site (PPV and NPV), random sample{which}",
    )


def _stated(calibration: Iterable[StatedProbability]) -> Markup:
    return table(
        ("finding", "labelled", "expected with it, share", "have it, share", "95 % interval", "expected lies"),
        [
            (
                SPOKEN.get(stated.finding, stated.finding),
                shown(stated.films),
                f"{stated.expected:,.1f}, {stated.expected / stated.films:.3f}" if stated.films else "–",
                f"{stated.observed:,}, {stated.observed / stated.films:.3f}" if stated.films else "–",
                _bounds(stated.interval95) if stated.films else "–",
                LIES[stated.holds] + _left_out(stated.no_number),
            )
            for stated in calibration
        ],
        caption="Calibration: films of the sample that should have a finding by their probabilities, and that have it. "
        "One of 20 such intervals misses by chance, and each is looked at every night: no alarm comes of it",
    )


def _left_out(films: int | None) -> str:
    return f"; {in_films(films)} left out: the probability is no number" if films else ""


def _rates(findings: Iterable[FindingRates]) -> Iterator[tuple[object, ...]]:
    for finding in findings:
        for one in finding.by_label:
            rate = one.rate
            value, evidence = rate.published_value, rate.published_evidence
            yield (
                SPOKEN.get(finding.finding, finding.finding),
                SPOKEN.get(one.label, one.label),
                one.name,
                "–" if value is None else f"{value:.3f}",
                "–" if value is None else _bounds(rate.interval95),
                shown(rate.successes),
                shown(rate.trials),
                _bounds(rate.calibrated) if rate.calibrated else "–",
                "–" if evidence is None else f"{evidence:.3g}",
                Markup('<b class="bad">alarm ✗</b>') if rate.alarm else "",
            )


def _others(others: OtherLabels) -> Markup:
    return table(
        ("flag", "films labelled", "right"),
        [
            (SPOKEN.get(one.finding, one.finding), SPOKEN.get(one.label, one.label), _share(one.right))
            for one in others.rates
        ],
        caption=f"Not representative: {others.labelled:,} films with a label that were not drawn ({others.flagged:,} "
        f"flagged; readers disagree on {others.disputed:,} more). Nobody knows how they were chosen: no alarm",
    )


def _share(share: Proportion) -> str:
    return "–" if share.value is None else f"{share.value:.3f}, {_bounds(share.interval95)}, of {share.n:,}"


def _bounds(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"
