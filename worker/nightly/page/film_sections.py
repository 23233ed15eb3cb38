"""The sections of report.html below its first screen."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup

from model.findings import SPOKEN
from model.pages.html import figure, paragraph, table
from worker.audit.reconciliation import films_of, total
from worker.nightly.operations import RATE_DAYS
from worker.nightly.page import film_figures
from worker.nightly.page.words import at_the_end, frozen, in_films, lasted, local, reached, shown
from worker.receiving.orphans import told
from worker.receiving.refusals import contexts_in
from worker.words.sizes import size

MOST_LISTED = 40


def senders(content: dict[str, Any]) -> Iterable[Markup]:
    if not content["senders"]:
        yield paragraph("No film came on this day.")
    else:
        films = [films_of(one) for one in content["senders"]]
        rows = [
            (
                one["calling_ae"],
                shown(one["received"]),
                shown(one["scored"]),
                _by_reason(one["ineligible"]),
                _by_reason(one["failed"]),
                shown(one["pending"]),
                Markup('<b class="bad">{} ✗</b>').format(one["difference"]) if one["difference"] else 0,
                shown(one["other_objects"]),
                shown(one["duplicates"]),
                shown(one["revisions"]),
            )
            for one in films
        ]
        columns = ("sending AE", "received", "scored", "not eligible", "failed", "waiting", "difference")
        yield table(
            (*columns, "other objects", "sent again", "revisions"),
            rows,
            caption="Received, by the audit trail = scored + not eligible + failed + waiting, by the instances. "
            "Other objects can never be a film, such as dose reports: answered, not scored, and no part of received. "
            "Sent again: the same once more, no new work. Revisions: other content under a known UID. "
            "Sent again and revisions also count other objects.",
        )
        yield from _unaccounted(content["unaccounted"], "Not accounted for")
        yield figure(film_figures.ends(films), "What became of each sender's films.")
    yield from _unaccounted(content["unaccounted_before"], "Received before this day, and not accounted for")
    if content["orphans"]:
        yield paragraph(f"{told(content['orphans'])}.", "mark")
    if content["refused"]:
        refused = [(ae, shown(sum(of.values())), _statuses(of)) for ae, of in content["refused"].items()]
        caption = "C-STOREs answered with an error. A film may be counted more than once, and may have come later."
        yield table(("sending AE", "refusals", "statuses"), refused, caption=caption)
    if content["contexts_refused"]:
        refused = [(ae, shown(contexts_in(of)), _statuses(of)) for ae, of in content["contexts_refused"].items()]
        caption = (
            "Presentation contexts that were not accepted, once for each association and SOP class. Only storage is "
            "served here: remove non-storage SOP classes (Query/Retrieve, Storage Commitment, Print) from this "
            "destination's configuration on the device."
        )
        yield table(("calling AE", "refused", "SOP classes"), refused, caption=caption)
    yield from _sources(content)


def _statuses(counts: dict[str, int]) -> str:
    return ", ".join(f"{status} {shown(count)}" for status, count in counts.items())


def _unaccounted(films: list[dict[str, Any]], caption: str) -> Iterable[Markup]:
    if films:
        groups = _grouped((one["calling_ae"], one["why"], one["id"]) for one in films)
        wrong = Markup('<b class="bad">{}</b>')
        rows = [(ae, wrong.format(why), _ids(ids, MOST_LISTED)) for (ae, why), ids in groups]
        yield table(("sending AE", "what is wrong", "instances"), rows, caption=caption)


def _sources(content: dict[str, Any]) -> Iterable[Markup]:
    if content["sources"]:
        rows = [
            (
                one["calling_ae"],
                local(one["last_film"], content),
                f"{one['silent_hours']:g} h",
                shown(one["films"]) if one["films"] else Markup('<span class="mark">none</span>'),
                "first day" if one["usual"] is None else f"{one['usual']:g}",
            )
            for one in content["sources"]
        ]
        columns = ("sending AE", "last film", f"silent {at_the_end(content)}", "films", "usual a day")
        yield table(columns, rows, caption="Who sends. Usual: mean of the 28 days before.")


def failed(content: dict[str, Any]) -> Iterable[Markup]:
    if not content["failed"]:
        yield paragraph("None.")
        return
    yield paragraph(
        "Each was kept as it came. 'xrayq instance show ID' has everything about one, 'requeue' tries again, "
        "'reject' takes it off the list."
    )
    groups = _grouped((one["calling_ae"], one["reason"], one["id"]) for one in content["failed"])
    rows = [(ae, reason, shown(len(ids)), _ids(ids, len(ids))) for (ae, reason), ids in groups]
    yield table(("sending AE", "reason", "films", "instances"), rows, caption="Every dead letter of the day")


def day(content: dict[str, Any]) -> Iterable[Markup]:
    throughput, seconds = content["throughput"], content["seconds"]
    yield figure(film_figures.day(content["hours"]), "Grey: received. Blue, narrow: of these, scored.")
    words = []
    if throughput["busiest_hour"]:
        words.append(
            f"Busiest hour: {throughput['busiest_hour']}, {in_films(throughput['received_in_an_hour'])} received."
        )
    if throughput["busiest_minute"]:
        words.append(
            f"Most scored in a minute: {throughput['scored_in_a_minute']:,}, at {throughput['busiest_minute']}."
        )
    if seconds:
        words.append(
            f"From received to scored, of the {in_films(seconds['films'])} to be scored: "
            f"half {reached(seconds['p50'])}, 95 % {reached(seconds['p95'])}, 99 % {reached(seconds['p99'])}."
        )
    if content["untimed"]:
        words.append(f"Left out, for they were scored before they came: {content['untimed']:,}. Clocks differed.")
    if words:
        yield paragraph(" ".join(words))
    if content["backlog"]["waiting"]:
        backlog = content["backlog"]
        yield paragraph(
            f"When this report was made {in_films(backlog['waiting'])} waited, the oldest for "
            f"{lasted(backlog['oldest_seconds'])}."
        )


def flags(content: dict[str, Any]) -> Iterable[Markup]:
    of_day = content["flags"]
    if content["distributions"]:
        yield figure(
            film_figures.scores(content["distributions"]),
            "Calibrated probabilities of the day's scored films. Dashed: where a flag begins.",
        )
    if not content["flagged"]:
        yield paragraph("No film was flagged.")
        return
    words = ", ".join(f"{SPOKEN.get(name, name)} {count:,}" for name, count in sorted(of_day["by_finding"].items()))
    yield paragraph(
        f"{of_day['flagged']:,} of {of_day['scored']:,} scored films: {words}. A film may have several flags."
    )
    spoken = ((one["calling_ae"], _spoken(one["flags"]), one["id"]) for one in content["flagged"])
    rows = [(ae, whole(names), shown(len(ids)), _ids(ids, MOST_LISTED)) for (ae, names), ids in _grouped(spoken)]
    yield table(
        ("sending AE", "flags", "films", "instances"),
        rows,
        caption="Flagged films; 'xrayq instance show ID' has everything about one",
    )


def force(content: dict[str, Any]) -> Iterable[Markup]:
    rows = [
        (one["bundle_digest"][:12], one["role"], one["engine"], one["software_version"], shown(one["scores"]))
        for one in content["in_force"]
    ]
    if rows:
        yield table(("bundle", "role", "engine", "xrayq", "scores"), rows, caption="Scores written on this day")
    else:
        yield paragraph("No score was written on this day.")
    if content["changes"]:
        changes = [
            (local(one["at"], content), one["action"], one["actor"], _detail(one["detail"]))
            for one in content["changes"]
        ]
        yield table(("time", "change", "by", "what"), changes, caption="Changes on this day")
    else:
        yield paragraph("No bundle and no reference was changed, and no label came.")


def storage(content: dict[str, Any]) -> Iterable[Markup]:
    found = content["storage"]
    rows = [
        (name, size(one["free"]), size(one["total"]), f"{one['free'] / one['total']:.0%}")
        for name, one in (("spool", found["spool"]), ("reports", found["reports"]))
        if one
    ]
    if rows:
        yield table(("folder", "free", "of", "free"), rows, caption="When this report was made")
    if found["spool"] is None:
        yield paragraph("The process that made this report does not see the spool.")
    since = "in the last week" if found["rate_days"] == RATE_DAYS else "since the first film"
    rate = f"{size(found['received'])} of films came on this day, {size(found['received_a_day'])} a day {since}."
    left = found["days_left"]
    if left is not None:
        rate += (
            f" At that rate the spool reaches its reserve of {size(found['reserve'])}, below which films are refused, "
            f"in {left:,.0f} days."
        )
    yield paragraph(rate)


def chain(content: dict[str, Any]) -> Iterable[Markup]:
    found = content["chain"]
    verdict = "whole" if found["whole"] else f"broken: {found['fault']}"
    yield paragraph(f"{found['rows']:,} rows, {verdict}. Its head {at_the_end(content)}:")
    yield Markup("<pre>{}</pre>").format(found["anchor"] or "nothing was audited yet")
    yield paragraph(
        "Kept where nobody here can write, it proves later that nothing before it was changed: "
        "'xrayq audit verify --head' takes it.",
        "quiet",
    )
    yield paragraph(
        "This page and report.json name films by instance id alone. instances.csv has their SOP Instance UIDs: "
        "it stays in the house.",
        "quiet",
    )


def _by_reason(reasons: dict[str, int]) -> Markup:
    words = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
    return Markup("{:,}").format(total(reasons)) + (Markup(" <small>({})</small>").format(words) if words else "")


def _detail(detail: dict[str, Any]) -> str:
    if "measures" in detail:
        return frozen(detail)
    return ", ".join(f"{name} {str(value)[:12]}" for name, value in detail.items() if value is not None)


def _spoken(findings: Iterable[str]) -> str:
    return ", ".join(SPOKEN.get(name, name) for name in findings)


def whole(names: str) -> Markup:
    """Without a line break inside a name."""
    return Markup(", ").join(Markup('<span class="whole">{}</span>').format(name) for name in names.split(", "))


def _grouped(films: Iterable[tuple[str, str, int]]) -> list[tuple[tuple[str, str], list[int]]]:
    """Instance ids by sender and what they have in common."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for calling_ae, common, key in films:
        groups[calling_ae, common].append(key)
    return sorted(groups.items())


def _ids(ids: list[int], most: int) -> Markup:
    more = f" and {len(ids) - most:,} more, in report.json" if len(ids) > most else ""
    return Markup("<small>{}{}</small>").format(", ".join(map(str, ids[:most])), more)
