"""What a night's report says first: was the day good, and what must not be overlooked."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from worker.alarms.faults import in_words
from worker.audit.reconciliation import films_of
from worker.nightly import corrections
from worker.nightly.page.words import in_films, in_others, local
from worker.receiving import refusals
from worker.receiving.orphans import told

SHORT_DAYS = 14.0
"""Of room in the spool: enough to order a disk."""
ACCOUNTS = ("unaccounted", "trail_broken", "orphans")
"""Alarms that say what `faults` says."""
DEAD_LETTERS = "dead_letters"
"""An alarm that says what a remark says, unless it counts films of other days too."""


class Level(StrEnum):
    GOOD = "good"
    LOOK = "look"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True)
class Headline:
    level: Level
    headline: str
    faults: list[str]
    """Films that are not accounted for or not in the database, and a broken trail."""
    remarks: list[str]
    """What somebody should look at."""
    known: list[str]
    """What somebody has acknowledged, and is still so."""


def judge(content: dict[str, Any]) -> Headline:
    """See `content.night_content`."""
    wrong, look = faults(content), list(_remarks(content))
    level = Level.BAD if wrong else Level.LOOK if look else Level.GOOD
    headline = _headline(content, bool(wrong), len(look))
    return Headline(level=level, headline=headline, faults=wrong, remarks=look, known=list(_known(content)))


def faults(content: dict[str, Any]) -> list[str]:
    """What must not be overlooked, one sentence each; empty on a good day, and where all of it is acknowledged."""
    senders, before = unknown(content, "senders"), unknown(content, "unaccounted_before")
    found = [
        f"{one['calling_ae']}: {abs(one['difference'])} of {one['received']} films received are not accounted for."
        for one in senders
        if one["difference"]
    ]
    found += [
        f"{one['calling_ae']}: {one['lost']} films received are not what the audit trail says."
        for one in senders
        if one["lost"] and not one["difference"]
    ]
    films = Counter(one["calling_ae"] for one in before)
    found += [f"{ae}: {in_films(number)} of earlier days not accounted for." for ae, number in sorted(films.items())]
    if _orphans(content):
        found.append(_sentence(told(content["orphans"])))
    if _broken(content):
        chain = content["chain"]
        found.append(f"The audit trail is broken after {chain['rows']} whole rows: {chain['fault']}.")
    return found


def unknown(content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Of senders or films, those of an AE whose missing films nobody has acknowledged."""
    known = _acknowledged(content)
    return [one for one in content[key] if ("unaccounted", one["calling_ae"]) not in known]


def _broken(content: dict[str, Any]) -> bool:
    return not content["chain"]["whole"] and ("trail_broken", "") not in _acknowledged(content)


def _orphans(content: dict[str, Any]) -> bool:
    return bool(content["orphans"]) and ("orphans", "") not in _acknowledged(content)


def _acknowledged(content: dict[str, Any]) -> dict[tuple[str, str], dict[str, str]]:
    return {(one["rule"], one["subject"]): one for one in content["acknowledged"]}


def _headline(content: dict[str, Any], wrong: bool, look: int) -> str:
    senders, before = unknown(content, "senders"), len(unknown(content, "unaccounted_before"))
    if wrong:
        difference, lost = sum(abs(one["difference"]) for one in senders), sum(one["lost"] for one in senders)
        said = {
            f"{in_films(difference)} not accounted for": difference,
            f"{in_films(lost)} not as the audit trail says": lost and not difference,
            f"{in_films(before)} of earlier days not accounted for": before,
            f"{in_films(len(content['orphans'] or ()))} of the spool not in the database": _orphans(content),
            "the audit trail is broken": _broken(content),
        }
        words = ", and ".join(text for text, true in said.items() if true)
        return words[0].upper() + words[1:]
    so_far = "" if content["day_over"] else " so far"
    rest = f"{so_far}; {look} {'thing needs' if look == 1 else 'things need'} a look" if look else so_far
    films = [films_of(one) for one in content["senders"]]
    received, other = (sum(one[name] for one in films) for name in ("received", "other_objects"))
    missing = sum(max(abs(one["difference"]), one["lost"]) for one in content["senders"])
    but = f" but {missing}, acknowledged" if missing else ""
    beside = f" and {in_others(other)}" if other else ""
    if not received and not missing:
        return f"No film came on this day{f', {in_others(other)}' if other else ''}{rest}"
    return f"All {in_films(received)}{beside} accounted for{but}{rest}"


def _remarks(content: dict[str, Any]) -> Iterator[str]:
    dead, pending = len(content["failed"]), sum(one["pending"] for one in content["senders"])
    if dead:
        waits = "waits" if dead == 1 else "wait"
        yield f"{in_films(dead)} could not be scored and {waits} for a person (dead letters)."
    if pending:
        yield f"{in_films(pending)} of this day still waited when the report was made."
    yield from corrections.remarks(content)
    for calling_ae, statuses in content["refused"].items():
        words = ", ".join(f"{status} {number}" for status, number in statuses.items())
        count = sum(statuses.values())
        yield (
            f"{calling_ae}: C-STORE was refused {_times(count)} ({words}). A film may be counted more than once, and "
            "may have come later."
        )
    for calling_ae, classes in content["contexts_refused"].items():
        lost = {name: number for name, number in classes.items() if refusals.may_be_a_film(name)}
        if lost:
            words = ", ".join(f"{name} {number}" for name, number in lost.items())
            count = refusals.contexts_in(lost)
            yield f"{calling_ae}: {_contexts(count)} that may have brought a film {_was(count)} refused ({words})."
    for calling_ae, reasons in content["not_associated"].items():
        words = ", ".join(f"{reason} {number}" for reason, number in reasons.items())
        count = sum(reasons.values())
        yield f"{calling_ae}: not let in {_times(count)} ({words}); the gateway's log has the addresses."
    acknowledged = _acknowledged(content)
    for one in content["conditions"]:
        if one["rule"] not in ACCOUNTS and (one["rule"], one["subject"]) not in acknowledged:
            yield _sentence(one["text"])
    for one in _other_alarms(content):
        if not one["acknowledged"] and not (one["rule"] == DEAD_LETTERS and one["value"] <= dead):
            yield f"Alarm: {_sentence(one['text'])}"
    yield from _unheard(content)
    if late := sum(bool(one["flags"]) for one in content["late"]):
        yield f"{in_films(late)} of days before ended on this day with a flag, which the report of their own day lacks."
    if content["follows"] and content["follows"] != content["start"]:
        yield _seam(content["follows"], content["start"])
    for one in content["page_without"]:
        yield f"The page's part '{one['part']}' could not be drawn ({one['reason']}); report.json has its numbers."
    left = content["storage"]["days_left"]
    if left is not None and left < SHORT_DAYS:
        yield f"At the rate at which films come the spool is full in {left:g} days."


def _known(content: dict[str, Any]) -> Iterator[str]:
    acknowledged = _acknowledged(content)
    for one in content["conditions"]:
        if kept := acknowledged.get((one["rule"], one["subject"])):
            yield with_reason(one["text"], kept, content)
    for one in _other_alarms(content):
        if one["acknowledged"]:
            yield with_reason(one["text"], one["acknowledged"], content)


def with_reason(text: str, kept: dict[str, str] | None, content: dict[str, Any]) -> str:
    """What is wrong, and who knows of it since when, and why."""
    if kept is None:
        return text
    when = local(kept["at"], content)
    return f"{_sentence(text)} Acknowledged on {when} by {kept['by']}: {_sentence(kept['why'])}"


def _other_alarms(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Of those that stood when the day ended, what this report did not find itself."""
    told = {(one["rule"], one["subject"]) for one in content["conditions"]}
    for one in content["alarms"]:
        if one["open_at_end"] and (one["rule"], one["subject"]) not in told and one["rule"] not in ACCOUNTS:
            yield one


def _unheard(content: dict[str, Any]) -> Iterator[str]:
    given_up = Counter((one["channel"], in_words(one["reason"])) for one in content["undelivered"])
    for (channel, why), number in given_up.items():
        yield f"{_messages(number)} about alarms did not arrive by {channel}: {why}."
    for one in content["outages"]:
        if one["failing"]:
            yield (
                f"{_messages(one['failing'])} about alarms did not arrive by {one['channel']} yet: 'xrayq alarm test' "
                "says why."
            )


def _seam(follows: str, start: str) -> str:
    """Between the report of the day before and this one."""
    gap = datetime.fromisoformat(start) > datetime.fromisoformat(follows)
    first, last = (one[:16].replace("T", " ") for one in sorted((follows, start)))
    where = "no report" if gap else "the report of the day before too"
    return f"XRAYQ_TIME_ZONE was changed: films received from {first} to {last} UTC are in {where}."


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def _contexts(number: int) -> str:
    return f"{number:,} presentation {'context' if number == 1 else 'contexts'}"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _messages(number: int) -> str:
    return f"{number:,} {'message' if number == 1 else 'messages'}"


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
