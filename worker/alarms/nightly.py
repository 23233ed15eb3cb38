"""The rules that are looked at with the night's report, from its values.

Such an alarm stands until the report of a later night is without it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from worker.alarms.rules import Condition


def looked_at(content: Mapping[str, Any]) -> frozenset[str]:
    """Rules that this report can say something about. Without labels or reference an open alarm is left alone."""
    always = {"unaccounted", "trail_broken", "report_failed"}
    return frozenset(always | {rule for rule in ("performance", "drift") if content.get(rule) is not None})


def conditions(content: Mapping[str, Any]) -> list[Condition]:
    """Of one night's `worker.audit.night.content`. Those of drift come from `worker.drift.conditions`."""
    return [*_unaccounted(content), *_trail_broken(content), *_performance(content)]


def _unaccounted(content: Mapping[str, Any]) -> Iterator[Condition]:
    for sender in content["senders"]:
        difference, lost = sender["difference"], sender["lost"]
        if difference or lost:
            yield Condition(
                rule="unaccounted",
                subject=sender["calling_ae"],
                value=max(abs(difference), lost),
                threshold=0,
                text=f"{content['date']}: {sender['received']} films received from {sender['calling_ae']}, "
                f"difference {difference}; {lost} wait for nobody or lost their score",
            )


def _trail_broken(content: Mapping[str, Any]) -> Iterator[Condition]:
    chain = content["chain"]
    if not chain["whole"]:
        place = f" at row {chain['broken']}" if chain["broken"] is not None else ""
        yield Condition(
            rule="trail_broken",
            value=1,
            threshold=0,
            text=f"the audit trail is broken{place}: {chain['fault']}; {chain['rows']} rows before are whole",
        )


def _performance(content: Mapping[str, Any]) -> Iterator[Condition]:
    for one in (content.get("performance") or {}).get("findings", ()):
        for name in ("sensitivity", "specificity"):
            rate = one[name]
            if rate["alarm"]:
                low, high = rate["calibrated"]
                yield Condition(
                    rule="performance",
                    subject=one["finding"],
                    value=rate["value"],
                    threshold=low if rate["value"] < (low + high) / 2 else high,
                    text=f"{one['finding']}: live {name} is {rate['value']:.3f} on {rate['trials']} labelled films; "
                    f"it was calibrated at {low:.3f} to {high:.3f}",
                )
                break
