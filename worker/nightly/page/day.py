"""The day's films in the night's page: hour by hour, flags and scores, and films of days before that ended on it."""

from collections import defaultdict
from collections.abc import Iterable

from markupsafe import Markup

from model.findings import SPOKEN
from model.pages.html import figure, paragraph, table
from worker.nightly.films import LateFilm
from worker.nightly.night_report import NightReport
from worker.nightly.page import charts
from worker.nightly.page.lists import grouped, ids, whole
from worker.nightly.words import in_films, lasted, reached, shown
from worker.words import flags_text


def hours(report: NightReport) -> Iterable[Markup]:
    turnaround, backlog = report.turnaround, report.backlog
    throughput, seconds = turnaround.throughput, turnaround.seconds
    yield figure(charts.hours(turnaround.hours), "Grey: received. Blue, narrow: of these, scored.")
    words = []
    if throughput.busiest_hour:
        words.append(f"Busiest hour: {throughput.busiest_hour}, {in_films(throughput.received_in_an_hour)} received.")
    if throughput.busiest_minute:
        words.append(f"Most scored in a minute: {throughput.scored_in_a_minute:,}, at {throughput.busiest_minute}.")
    if seconds:
        words.append(
            f"From received to scored, of the {in_films(turnaround.films)} to be scored: "
            f"half {reached(seconds.p50)}, 95 % {reached(seconds.p95)}, 99 % {reached(seconds.p99)}."
        )
    if turnaround.untimed:
        words.append(f"Left out, for they were scored before they came: {turnaround.untimed:,}. Clocks differed.")
    if words:
        yield paragraph(" ".join(words))
    if backlog.oldest_seconds is not None:
        yield paragraph(
            f"When this report was made {in_films(backlog.waiting)} waited, the oldest for "
            f"{lasted(backlog.oldest_seconds)}."
        )


def flags(report: NightReport) -> Iterable[Markup]:
    if report.distributions:
        yield figure(
            charts.scores(report.distributions),
            "Calibrated probabilities of the day's scored films. Dashed: where a flag begins.",
        )
    if report.studies:
        outcomes = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in report.studies.items())
        number = sum(report.studies.values())
        yield paragraph(
            f"Studies whose first object came on the day: {number:,}; by outcome: {outcomes}. 'xrayq outcome list' has "
            "each."
        )
    if report.marks:
        yield from _marks(report)
    if not report.marked:
        yield paragraph("No film was flagged, and none left unsure.")
        return
    counts = sorted(report.flags_by_finding.items())
    words = ", ".join(f"{SPOKEN.get(name, name)} {count:,}" for name, count in counts)
    yield paragraph(
        f"{len(report.flagged):,} of {report.scored:,} scored films were flagged{f': {words}' if words else ''}. "
        "A film may have several flags."
    )
    groups = grouped((film.calling_ae, flags_text(film.flags, film.unsure), film.id) for film in report.marked)
    yield table(
        ("sending AE", "flags", "films", "instances"),
        [(calling_ae, whole(names), shown(len(keys)), ids(keys)) for (calling_ae, names), keys in groups],
        caption="Films flagged or unsure; 'xrayq instance show ID' has everything about one",
    )


def _marks(report: NightReport) -> Iterable[Markup]:
    counts = ("scored", "flagged", "unsure", "flagged_and_unsure", "neither")
    rows = [(sender.calling_ae, *(shown(getattr(sender, name)) for name in counts)) for sender in report.marks]
    columns = ("sending AE", *(name.replace("_", " ") for name in counts))
    yield table(columns, rows, caption="What the scores say, by sending AE")
    yield paragraph(
        "Unsure: the prediction set holds several findings, or none, so the network does not tell which it is. A film "
        "that is flagged and unsure counts in both columns.",
        "quiet",
    )


def late(report: NightReport) -> Iterable[Markup]:
    if not report.late:
        yield paragraph("None.")
        return
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for film in report.late:
        groups[film.calling_ae, f"{film.received_at:%Y-%m-%d}", _became(film)].append(film.id)
    yield paragraph("They waited or were requeued: the report of the day on which they came lacks what is told here.")
    yield table(
        ("sending AE", "received (UTC)", "now", "films", "instances"),
        [(ae, day, became, shown(len(keys)), ids(keys)) for (ae, day, became), keys in sorted(groups.items())],
        caption="Ended on this day, received before it",
    )


def _became(film: LateFilm) -> str:
    if film.flags:
        return f"flagged: {flags_text(film.flags, film.unsure)}"
    return " ".join(filter(None, (film.state, film.reason))) + ("; unsure" if film.unsure else "")
