"""What a night's report says first: was the day good, and what must not be overlooked."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from worker.orphans import told

SHORT_DAYS = 14.0
"""Of room in the spool: enough to order a disk."""
ACCOUNTS = ("unaccounted", "trail_broken", "orphans")
"""Alarms that say what `faults` says."""


class Level(StrEnum):
    GOOD = "good"
    LOOK = "look"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    level: Level
    headline: str
    faults: list[str]
    """Films that are not accounted for or not in the database, and a broken trail."""
    remarks: list[str]
    """What somebody should look at."""


def judge(content: dict[str, Any]) -> Verdict:
    """See `night.content`."""
    wrong, look = faults(content), list(_remarks(content))
    level = Level.BAD if wrong else Level.LOOK if look else Level.GOOD
    return Verdict(level=level, headline=_headline(content, bool(wrong), len(look)), faults=wrong, remarks=look)


def faults(content: dict[str, Any]) -> list[str]:
    """What must not be overlooked, one sentence each; empty on a good day."""
    found = [
        f"{one['calling_ae']}: {abs(one['difference'])} of {one['received']} films received are not accounted for."
        for one in content["senders"]
        if one["difference"]
    ]
    found += [
        f"{one['calling_ae']}: {one['lost']} films received are not what the audit trail says."
        for one in content["senders"]
        if one["lost"] and not one["difference"]
    ]
    before = Counter(one["calling_ae"] for one in content["unaccounted_before"])
    found += [f"{ae}: {_films(number)} of earlier days not accounted for." for ae, number in sorted(before.items())]
    if content["orphans"]:
        found.append(_sentence(told(content["orphans"])))
    chain = content["chain"]
    if not chain["whole"]:
        found.append(f"The audit trail is broken after {chain['rows']} whole rows: {chain['fault']}.")
    return found


def _headline(content: dict[str, Any], wrong: bool, look: int) -> str:
    received = sum(one["received"] for one in content["senders"])
    if wrong:
        lost, before = sum(one["lost"] for one in content["senders"]), len(content["unaccounted_before"])
        said = {
            f"{_films(content['difference'])} not accounted for": content["difference"],
            f"{_films(lost)} not as the audit trail says": lost and not content["difference"],
            f"{_films(before)} of earlier days not accounted for": before,
            f"{_films(len(content['orphans'] or ()))} of the spool not in the database": content["orphans"],
            "the audit trail is broken": not content["chain"]["whole"],
        }
        words = ", and ".join(text for text, true in said.items() if true)
        return words[0].upper() + words[1:]
    rest = f"; {look} {'thing needs' if look == 1 else 'things need'} a look" if look else ""
    return (f"All {_films(received)} accounted for" if received else "No film came on this day") + rest


def _remarks(content: dict[str, Any]) -> Iterator[str]:
    dead, pending = len(content["failed"]), sum(one["pending"] for one in content["senders"])
    if dead:
        yield f"{_films(dead)} could not be scored and {'waits' if dead == 1 else 'wait'} for a person (dead letters)."
    if pending:
        yield f"{_films(pending)} of this day still waited when the report was made."
    for calling_ae, statuses in content["refused"].items():
        words = ", ".join(f"{status} {number}" for status, number in statuses.items())
        count = sum(statuses.values())
        yield f"{calling_ae}: C-STORE was refused {count:,} times ({words}): these films were not received."
    for one in content["conditions"]:
        if one["rule"] not in ACCOUNTS:
            yield _sentence(one["text"])
    told = {(one["rule"], one["subject"]) for one in content["conditions"]}
    for one in content["alarms"]:
        if one["open_at_end"] and (one["rule"], one["subject"]) not in told and one["rule"] not in ACCOUNTS:
            yield f"Alarm: {_sentence(one['text'])}"
    if late := sum(bool(one["flags"]) for one in content["late"]):
        yield f"{_films(late)} of days before ended on this day with a flag, which the report of their own day lacks."
    if content["follows"] and content["follows"] != content["start"]:
        yield _seam(content["follows"], content["start"])
    for one in content["page_without"]:
        yield f"The page's part '{one['part']}' could not be drawn ({one['reason']}); report.json has its numbers."
    left = content["storage"]["days_left"]
    if left is not None and left < SHORT_DAYS:
        yield f"At the rate of the last week the spool is full in {left:g} days."


def _seam(follows: str, start: str) -> str:
    """Between the report of the day before and this one."""
    gap = datetime.fromisoformat(start) > datetime.fromisoformat(follows)
    first, last = (one[:16].replace("T", " ") for one in sorted((follows, start)))
    where = "no report" if gap else "the report of the day before too"
    return f"XRAYQ_TIME_ZONE was changed: films received from {first} to {last} UTC are in {where}."


def _films(number: int) -> str:
    return f"{number:,} {'film' if number == 1 else 'films'}"


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
