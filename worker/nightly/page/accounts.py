"""Is every film accounted for, in the night's page: by sender, and the dead letters."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from model.pages.html import figure, paragraph, table
from worker.audit.reconciliation import Unaccounted
from worker.nightly.night_report import Counts, NightReport
from worker.nightly.page import charts
from worker.nightly.page.lists import grouped, ids
from worker.nightly.words import at_the_end, local, shown
from worker.receiving import orphans
from worker.receiving.refusals import contexts_in


def senders(report: NightReport) -> Iterable[Markup]:
    if not report.senders:
        yield paragraph("No film came on this day.")
    else:
        yield _accounts(report)
        yield from _unaccounted(report.unaccounted, "Not accounted for")
        yield figure(charts.ends(report.senders), "What became of each sender's films.")
    yield from _unaccounted(report.unaccounted_before, "Received before this day, and not accounted for")
    if report.orphans:
        yield paragraph(f"{orphans.in_words(report.orphans)}.", "mark")
    yield from _refused(report.refused)
    yield from _contexts_refused(report.contexts_refused)
    yield from _sources(report)


def _accounts(report: NightReport) -> Markup:
    rows = [
        (
            sender.calling_ae,
            shown(sender.films_received),
            shown(sender.scored),
            _by_reason(sender.ineligible_films),
            _by_reason(sender.failed),
            shown(sender.pending),
            Markup('<b class="mark">{}</b>').format(shown(sender.quarantined)) if sender.quarantined else 0,
            Markup('<b class="bad">{} ✗</b>').format(sender.difference) if sender.difference else 0,
            shown(sender.other_objects),
            shown(sender.duplicates),
            shown(sender.revisions),
        )
        for sender in report.senders
    ]
    columns = ("sending AE", "received", "scored", "not eligible", "failed", "waiting", "quarantined", "difference")
    return table(
        (*columns, "other objects", "sent again", "revisions"),
        rows,
        caption="Received, by the audit trail = scored + not eligible + failed + waiting + quarantined, by the "
        "instances. "
        "Quarantined: of unknown peers, kept and not scored until a person admits them; other objects among them. "
        "Other objects can never be a film, such as dose reports: answered, not scored, and no part of received. "
        "Sent again: the same once more, no new work. Revisions: other content under a known UID. "
        "Sent again and revisions also count other objects.",
    )


def _by_reason(reasons: dict[str, int]) -> Markup:
    words = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
    total = Markup("{:,}").format(sum(reasons.values()))
    return total + (Markup(" <small>({})</small>").format(words) if words else "")


def _unaccounted(films: Sequence[Unaccounted], caption: str) -> Iterable[Markup]:
    if films:
        groups = grouped((film.calling_ae, film.why, film.id) for film in films)
        wrong = Markup('<b class="bad">{}</b>')
        rows = [(calling_ae, wrong.format(why), ids(keys)) for (calling_ae, why), keys in groups]
        yield table(("sending AE", "what is wrong", "instances"), rows, caption=caption)


def _refused(refused: Counts) -> Iterable[Markup]:
    if refused:
        rows = [(ae, shown(sum(statuses.values())), _listed(statuses)) for ae, statuses in refused.items()]
        caption = "C-STOREs answered with an error. A film may be counted more than once, and may have come later."
        yield table(("sending AE", "refusals", "statuses"), rows, caption=caption)


def _contexts_refused(refused: Counts) -> Iterable[Markup]:
    if refused:
        rows = [(ae, shown(contexts_in(classes)), _listed(classes)) for ae, classes in refused.items()]
        caption = (
            "Presentation contexts that were not accepted, once for each association and SOP class. Only storage is "
            "served here: remove non-storage SOP classes (Query/Retrieve, Storage Commitment, Print) from this "
            "destination's configuration on the device."
        )
        yield table(("calling AE", "refused", "SOP classes"), rows, caption=caption)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{code} {shown(count)}" for code, count in counts.items())


def _sources(report: NightReport) -> Iterable[Markup]:
    if report.sources:
        rows = [
            (
                source.calling_ae,
                local(source.last_film, report.zone),
                f"{source.silent_hours:g} h",
                shown(source.films) if source.films else Markup('<span class="mark">none</span>'),
                "first day" if source.usual is None else f"{source.usual:g}",
            )
            for source in report.sources
        ]
        columns = ("sending AE", "last film", f"silent {at_the_end(report)}", "films", "usual a day")
        yield table(columns, rows, caption="Who sends. Usual: mean of the 28 days before.")


def failed(report: NightReport) -> Iterable[Markup]:
    if not report.failed:
        yield paragraph("None.")
        return
    yield paragraph(
        "Each was kept as it came. 'xrayq instance show ID' has everything about one, 'requeue' tries again, "
        "'reject' takes it off the list."
    )
    groups = grouped((film.calling_ae, film.reason, film.id) for film in report.failed)
    rows = [(ae, reason, shown(len(keys)), ids(keys, len(keys))) for (ae, reason), keys in groups]
    yield table(("sending AE", "reason", "films", "instances"), rows, caption="Every dead letter of the day")
