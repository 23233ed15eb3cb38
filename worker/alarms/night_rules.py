"""The rules that are looked at with the night's report, from its values.

Such an alarm stands until the report of a later night is without it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from worker.alarms.rules import USUAL_DAYS, Condition
from worker.monitoring.drift import excess, in_units
from worker.receiving.orphans import told

UNACCOUNTED = "unaccounted"
DRIFT = "drift"
ORPHANS = "orphans"
MOST_NAMED = 4
"""Measures that the text of a drift alarm names."""
MOST_ABOUT = 1000
"""Films that an alarm keeps by id; of more, their number says that there are others."""


def looked_at(content: Mapping[str, Any]) -> frozenset[str | tuple[str, str]]:
    """What this report can say something about. Without labels, of an AE without a test, or where the spool is not
    seen, an alarm is left alone."""
    rules = {UNACCOUNTED, "trail_broken", "report_failed"}
    if content["orphans"] is not None:
        rules.add(ORPHANS)
    if content["performance"] is not None:
        rules.add("performance")
    return frozenset(rules) | {(DRIFT, str(one["calling_ae"])) for one in content["drift"]["tests"]}


def gone(content: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Open alarms that end with their AE, and what is said then."""
    sending = {one["calling_ae"] for one in content["sources"]}
    ended = {one["subject"] for one in content["alarms"] if one["rule"] == DRIFT} - sending
    return {
        (DRIFT, calling_ae): f"{calling_ae} sent no film for {USUAL_DAYS} days and is taken as gone; its drift was not "
        "looked at again"
        for calling_ae in ended
    }


def conditions(content: Mapping[str, Any]) -> list[Condition]:
    """Of one night's `worker.nightly.content.night_content`; of its drift see `drift_conditions`."""
    return [*_unaccounted(content), *_orphans(content), *_trail_broken(content), *_performance(content)]


def _unaccounted(content: Mapping[str, Any]) -> Iterator[Condition]:
    """An alarm for each AE, as long as a film of this day or of one before is not accounted for."""
    of_day = {sender["calling_ae"]: sender for sender in content["senders"]}
    wrong_ids = defaultdict(list)
    for one in (*content["unaccounted"], *content["unaccounted_before"]):
        wrong_ids[one["calling_ae"]].append(one["id"])
    before = Counter(str(one["calling_ae"]) for one in content["unaccounted_before"])
    for calling_ae in sorted({*of_day, *before}):
        sender = of_day.get(calling_ae, {"received": 0, "difference": 0, "lost": 0})
        wrong = max(abs(sender["difference"]), sender["lost"])
        if wrong or before[calling_ae]:
            yield Condition(
                rule=UNACCOUNTED,
                subject=calling_ae,
                value=wrong + before[calling_ae],
                threshold=0,
                text=f"{content['date']}: {sender['received']} films received from {calling_ae}, difference "
                f"{sender['difference']}; {sender['lost']} of them and {before[calling_ae]} of earlier days are not "
                "accounted for",
                about=tuple(map(str, sorted(wrong_ids[calling_ae])[:MOST_ABOUT])),
            )


def _orphans(content: Mapping[str, Any]) -> Iterator[Condition]:
    if content["orphans"]:
        yield Condition(rule=ORPHANS, value=len(content["orphans"]), threshold=0, text=told(content["orphans"]))


def _trail_broken(content: Mapping[str, Any]) -> Iterator[Condition]:
    chain = content["chain"]
    if not chain["whole"]:
        place = f" at row {chain['broken']}" if chain["broken"] is not None else ""
        yield Condition(
            rule="trail_broken",
            value=1,
            threshold=0,
            text=f"the audit trail is broken{place}: {chain['fault']}; {chain['rows']} rows before are whole",
            about=(f"row {chain['broken']}, {chain['fault']}",),
        )


def _performance(content: Mapping[str, Any]) -> Iterator[Condition]:
    for one in (content.get("performance") or {}).get("findings", ()):
        left = [name for name in ("sensitivity", "specificity") if one[name]["alarm"]]
        if left:
            rate = one[left[0]]
            low, high = rate["calibrated"]
            yield Condition(
                rule="performance",
                subject=one["finding"],
                value=rate["value"],
                threshold=low if rate["value"] < (low + high) / 2 else high,
                text=f"{one['finding']}: live {left[0]} is {rate['value']:.3f} on {rate['trials']} labelled films; "
                f"it was calibrated at {low:.3f} to {high:.3f}",
                about=tuple(left),
            )


def drift_conditions(evaluated: Mapping[str, Any]) -> list[Condition]:
    """An alarm for each AE that drifted. Its value is the largest PSI beyond chance."""
    alarms = sorted((one for one in evaluated["tests"] if one["alarm"]), key=lambda one: str(one["calling_ae"]))
    found = []
    for calling_ae, group in groupby(alarms, key=lambda one: str(one["calling_ae"])):
        ones = sorted(group, key=excess, reverse=True)
        words = [
            f"{one['measure']} {in_units(one['measure'], one['median'])} (reference {one['reference_median']:.3g})"
            for one in ones[:MOST_NAMED]
        ]
        more = f" and {len(ones) - MOST_NAMED} more" if len(ones) > MOST_NAMED else ""
        found.append(
            Condition(
                rule=DRIFT,
                subject=calling_ae,
                value=round(excess(ones[0]), 4),
                threshold=evaluated["options"]["psi"],
                text=f"{calling_ae} differs from its frozen reference; medians: {', '.join(words)}{more}.",
                about=tuple(sorted({str(one["measure"]) for one in ones})),
            )
        )
    return found
