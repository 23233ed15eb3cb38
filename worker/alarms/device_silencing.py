"""Alarms that end the sending of results, where the site wants that: a person accepts the AE again.

`drift` silences its AE. `performance` silences every accepted AE: its rates are of the films of all of them, and nobody
knows whose it is.

It happens when the alarm is raised, also when one that was acknowledged is raised again. An AE that a person accepts
while the alarm stands stays accepted: that person knew.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from worker.alarms import ledger
from worker.alarms.night_rules import DRIFT
from worker.alarms.rules import Condition
from worker.audit.actions import Actor
from worker.reporting import acceptance

LONGEST = 500
"""Characters of an alarm's text."""


@dataclass(frozen=True, kw_only=True)
class Silenced:
    """What the alarms of a night did to AEs."""

    conditions: tuple[Condition, ...]
    """All of the night; those for which an AE is silent say so."""
    events: tuple[dict[str, Any], ...]
    """For the audit trail, the last thing of the transaction."""


def silence_by_rule(
    connection: Connection,
    looked_at: Collection[str | tuple[str, str]],
    conditions: Collection[Condition],
    rules: Collection[str],
    gone: Mapping[tuple[str, str], str] | None = None,
) -> Silenced:
    """Silence AEs for alarms that `ledger.settle`, called with the same arguments in the same turn, is about to raise.

    It comes before `settle`, as `settle` writes to the audit trail, and what holds the trail waits for no AE's row.

    Args:
        rules: alarms that silence; others, and those that stand already, change nothing.
    """
    watched = [condition for condition in conditions if condition.rule in rules]
    if not watched:
        return Silenced(conditions=tuple(conditions), events=())
    needed = ledger.work(connection, looked_at, watched, gone)
    raised = [*needed.new, *(again for _, again in needed.again)]
    sending = acceptance.accepted(connection)
    reasons: dict[str, str] = {}
    for condition in raised:
        for calling_ae in sending & {condition.subject} if condition.rule == DRIFT else sending:
            reasons.setdefault(calling_ae, _reason(condition))
    events = acceptance.silence_all(connection, reasons, actor=Actor.RELAY)
    told = tuple(
        _told(condition, acceptance.silent_for(connection, _reason(condition), actor=Actor.RELAY))
        if condition in watched
        else condition
        for condition in conditions
    )
    return Silenced(conditions=told, events=tuple(events))


def _reason(condition: Condition) -> str:
    return f"alarm {condition.rule} of {condition.subject}, by XRAYQ_SILENCE_ON"


def _told(condition: Condition, silenced: Sequence[str]) -> Condition:
    """The alarm says so as long as an AE is silent for it."""
    if not silenced:
        return condition
    whose = f"{silenced[0]} is" if len(silenced) == 1 else f"{len(silenced)} AEs are"
    told = f" {whose} silent for this: no result is sent until a person accepts again."
    return replace(condition, text=condition.text[: LONGEST - len(told)] + told)
