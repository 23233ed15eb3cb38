"""What a night's report says first: was the day good, and what must not be overlooked."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from worker.alarms.acknowledge import Acknowledgement
from worker.alarms.faults import in_words
from worker.alarms.night_rules import ORPHANS, TRAIL_BROKEN, UNACCOUNTED
from worker.audit.reconciliation import Sender, Unaccounted
from worker.nightly import corrections
from worker.nightly.night_report import NightReport
from worker.nightly.operations import DayAlarm
from worker.nightly.words import in_films, in_others, local
from worker.pacs.words import fault_in_words, pacs_in_words
from worker.receiving import orphans, refusals
from worker.words import counted

SHORT_DAYS = 14.0
"""Of room in the spool: enough to order a disk."""
NOT_RECEIVED = "not_received"
"""An alarm that says what a remark says, unless films of other days are missing too."""
ACCOUNTS = (UNACCOUNTED, TRAIL_BROKEN, ORPHANS)
"""Alarms that say what `faults` says."""
DEAD_LETTERS = "dead_letters"
"""An alarm that says what a remark says, unless it counts films of other days too."""


class Level(StrEnum):
    GOOD = "good"
    LOOK = "look"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True)
class Headline:
    """A report in a sentence, and what it rests on."""

    level: Level
    headline: str
    faults: list[str]
    """Films that are not accounted for or not in the database, a broken trail, and scores that differ from it."""
    remarks: list[str]
    """What somebody should look at."""
    known: list[str]
    """What somebody has acknowledged, and is still so."""


def judge(report: NightReport) -> Headline:
    """How the night went: BAD with a fault, LOOK with a remark alone, GOOD without either."""
    wrong, look = faults(report), list(_remarks(report))
    level = Level.BAD if wrong else Level.LOOK if look else Level.GOOD
    headline = _worst(report) if wrong else _accounted(report, len(look))
    return Headline(level=level, headline=headline, faults=wrong, remarks=look, known=list(_known(report)))


def faults(report: NightReport) -> list[str]:
    """What must not be overlooked, one sentence each; empty on a good day, and where all of it is acknowledged."""
    senders = unknown_senders(report)
    found = [
        f"{sender.calling_ae}: {abs(sender.difference)} of {sender.received} films received are not accounted for."
        for sender in senders
        if sender.difference
    ]
    found += [
        f"{sender.calling_ae}: {sender.lost} films received are not what the audit trail says."
        for sender in senders
        if sender.lost and not sender.difference
    ]
    films = Counter(film.calling_ae for film in _unknown_of_earlier_days(report))
    found += [f"{ae}: {in_films(number)} of earlier days not accounted for." for ae, number in sorted(films.items())]
    if lost := _unknown_orphans(report):
        found.append(_sentence(orphans.in_words(lost)))
    check = report.chain.check
    if _broken(report) and check.fault:
        found.append(f"The audit trail is broken after {check.rows} whole rows: {check.fault}.")
    if _broken(report) and check.scores.wrong:
        fault = check.scores.fault
        found.append(f"{fault[0].upper()}{fault[1:]}.")
    return found


def unknown_senders(report: NightReport) -> list[Sender]:
    """Those whose missing films nobody has acknowledged."""
    return [sender for sender in report.senders if (UNACCOUNTED, sender.calling_ae) not in report.known]


def _unknown_of_earlier_days(report: NightReport) -> list[Unaccounted]:
    return [film for film in report.unaccounted_before if (UNACCOUNTED, film.calling_ae) not in report.known]


def _unknown_orphans(report: NightReport) -> tuple[str, ...]:
    return () if (ORPHANS, "") in report.known else report.orphans or ()


def _broken(report: NightReport) -> bool:
    return not report.chain.check.whole and (TRAIL_BROKEN, "") not in report.known


def _worst(report: NightReport) -> str:
    """The headline of a bad day."""
    senders, before = unknown_senders(report), len(_unknown_of_earlier_days(report))
    difference = sum(abs(sender.difference) for sender in senders)
    lost = sum(sender.lost for sender in senders)
    lost_orphans, check = len(_unknown_orphans(report)), report.chain.check
    faults_in_words = {
        f"{in_films(difference)} not accounted for": difference,
        f"{in_films(lost)} not as the audit trail says": lost and not difference,
        f"{in_films(before)} of earlier days not accounted for": before,
        f"{in_films(lost_orphans)} of the spool not in the database": lost_orphans,
        "the audit trail is broken": bool(_broken(report) and check.fault),
        f"{counted(check.scores.wrong, 'score')} not as the audit trail says": _broken(report) and check.scores.wrong,
    }
    words = ", and ".join(text for text, true in faults_in_words.items() if true)
    return words[0].upper() + words[1:]


def _accounted(report: NightReport, look: int) -> str:
    """The headline of a day on which nothing is wrong that nobody knows of. Without an answer of a PACS it speaks of
    what reached us, for nobody knows what should have.

    Args:
        look: things that need one.
    """
    so_far = "" if report.day_over else " so far"
    rest = f"{so_far}; {look} {'thing needs' if look == 1 else 'things need'} a look" if look else so_far
    received = sum(sender.films_received for sender in report.senders)
    other = sum(sender.other_objects for sender in report.senders)
    missing = sum(sender.wrong for sender in report.senders)
    but = f" but {missing}, acknowledged" if missing else ""
    beside = f" and {in_others(other)}" if other else ""
    if not received and not missing:
        return f"No film came on this day{f', {in_others(other)}' if other else ''}{rest}"
    reached = "" if any(answer.fault is None for answer in report.pacs) else " that reached us"
    return f"All {in_films(received)}{beside}{reached} accounted for{but}{rest}"


def _remarks(report: NightReport) -> Iterator[str]:
    dead, pending = len(report.failed), sum(sender.pending for sender in report.senders)
    if dead:
        waits = "waits" if dead == 1 else "wait"
        yield f"{in_films(dead)} could not be scored and {waits} for a person (dead letters)."
    if pending:
        yield f"{in_films(pending)} of this day still waited when the report was made."
    if held := sum(sender.quarantined for sender in report.senders):
        are = "is" if held == 1 else "are"
        yield (
            f"{counted(held, 'object')} of this day {are} in quarantine, of unknown peers: kept and not scored, until "
            "'xrayq peer admit AE'."
        )
    yield from corrections.remarks(report.identity_changed)
    yield from _pacs(report)
    yield from _turned_away(report)
    for condition in report.conditions:
        if condition.rule not in ACCOUNTS and (condition.rule, condition.subject) not in report.known:
            yield _sentence(condition.text)
    for alarm in _other_alarms(report):
        told = {DEAD_LETTERS: dead, NOT_RECEIVED: _missing(report, alarm.subject)}.get(alarm.rule)
        if not alarm.acknowledged and (told is None or alarm.value > told):
            yield f"Alarm: {_sentence(alarm.text)}"
    yield from _unheard(report)
    if late := sum(bool(film.flags) for film in report.late):
        yield f"{in_films(late)} of days before ended on this day with a flag, which the report of their own day lacks."
    if report.follows and report.follows != report.span.start:
        yield _seam(report.follows, report.span.start)
    for missing in report.page_without:
        yield (f"The page's part '{missing.part}' could not be drawn ({missing.reason}); report.json has its numbers.")
    left = report.storage.days_left
    if left is not None and left < SHORT_DAYS:
        yield f"At the rate at which films come the spool is full in {left:g} days."


def _pacs(report: NightReport) -> Iterator[str]:
    for answer in report.pacs:
        if answer.fault is not None:
            yield f"{answer.pacs} was asked which films it has, and did not say: {fault_in_words(answer.fault)}."
        elif answer.missing:
            yield f"{pacs_in_words(answer)}."


def _missing(report: NightReport, pacs: str) -> int:
    return sum(answer.missing for answer in report.pacs if answer.pacs == pacs)


def _turned_away(report: NightReport) -> Iterator[str]:
    for calling_ae, statuses in report.refused.items():
        count = sum(statuses.values())
        yield (
            f"{calling_ae}: C-STORE was refused {_times(count)} ({_listed(statuses)}). A film may be counted more than "
            "once, and may have come later."
        )
    for calling_ae, classes in report.contexts_refused.items():
        lost = {name: number for name, number in classes.items() if refusals.may_be_a_film(name)}
        if lost:
            count = refusals.contexts_in(lost)
            yield (
                f"{calling_ae}: {_contexts(count)} that may have brought a film {_was(count)} refused "
                f"({_listed(lost)})."
            )
    for calling_ae, reasons in report.not_associated.items():
        count = sum(reasons.values())
        yield (f"{calling_ae}: not let in {_times(count)} ({_listed(reasons)}); the gateway's log has the addresses.")


def _known(report: NightReport) -> Iterator[str]:
    for condition in report.conditions:
        if known := report.known.get((condition.rule, condition.subject)):
            yield with_reason(condition.text, known, report.zone)
    for alarm in _other_alarms(report):
        if alarm.acknowledged:
            yield with_reason(alarm.text, alarm.acknowledged, report.zone)


def with_reason(text: str, known: Acknowledgement | None, zone: ZoneInfo) -> str:
    """What is wrong, and who knows of it since when, and why."""
    if known is None:
        return text
    when = local(datetime.fromisoformat(known.at), zone)
    return f"{_sentence(text)} Acknowledged on {when} by {known.by}: {_sentence(known.why)}"


def _other_alarms(report: NightReport) -> Iterator[DayAlarm]:
    """Of those that stood when the day ended, what this report did not find itself."""
    found = {(condition.rule, condition.subject) for condition in report.conditions}
    for alarm in report.alarms:
        if alarm.open_at_end and (alarm.rule, alarm.subject) not in found and alarm.rule not in ACCOUNTS:
            yield alarm


def _unheard(report: NightReport) -> Iterator[str]:
    given_up = Counter((message.channel, in_words(message.reason)) for message in report.undelivered)
    for (channel, why), number in given_up.items():
        yield f"{_messages(number)} about alarms did not arrive by {channel}: {why}."
    for outage in report.outages:
        if outage.failing:
            yield (
                f"{_messages(outage.failing)} about alarms did not arrive by {outage.channel} yet: 'xrayq alarm test' "
                "says why."
            )
    for lost in report.lost_results:
        yield f"{_results(lost.results)} given up at {lost.destination or 'a destination'}: {lost.why}."
    lost_today = Counter({lost.destination: lost.results for lost in report.lost_results})
    for out in report.result_outages:
        why = f": {out.why}" if out.why else ""
        if out.waiting:
            yield f"{_results(out.waiting)} did not arrive at {out.destination} yet{why}."
        if out.unconfirmed:
            yield f"{_results(out.unconfirmed)} at {out.destination} sent, and not confirmed yet{why}."
        if earlier := max(out.given_up - lost_today[out.destination], 0):
            yield f"{_results(earlier)} for {out.destination} given up on days before, and not sent again."


def _seam(follows: datetime, start: datetime) -> str:
    """Between the report of the day before and this one."""
    first, last = (f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}" for moment in sorted((follows, start)))
    where = "no report" if start > follows else "the report of the day before too"
    return f"XRAYQ_TIME_ZONE was changed: films received from {first} to {last} UTC are in {where}."


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{code} {number}" for code, number in counts.items())


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def _contexts(number: int) -> str:
    return f"{number:,} presentation {'context' if number == 1 else 'contexts'}"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _messages(number: int) -> str:
    return f"{number:,} {'message' if number == 1 else 'messages'}"


def _results(number: int) -> str:
    return f"{number:,} {'result' if number == 1 else 'results'}"


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
