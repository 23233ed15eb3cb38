"""What a night's report says, as values. Its files and its page are made from it alone."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from model.notice import NOTICE
from worker.alarms.acknowledge import AcknowledgedCondition, Acknowledgement
from worker.alarms.night_rules import DRIFT, NightFacts
from worker.alarms.rules import Condition
from worker.alarms.undelivered import LostMessage, Outage
from worker.audit.reconciliation import Sender, Unaccounted
from worker.db.span import Span
from worker.monitoring.drift import DriftResult
from worker.monitoring.live_labels import LivePerformance
from worker.nightly.corrections import IdentityChange
from worker.nightly.disks import Storage
from worker.nightly.films import Distribution, FailedFilm, FlaggedFilm, LateFilm, Turnaround
from worker.nightly.operations import Backlog, DayAlarm, DayChain, InForce, ServiceChange, Source
from worker.nightly.published import DayGivenUp
from worker.words.json_values import to_json

Counts = dict[str, dict[str, int]]
"""AE title -> code -> number; see `refusals.most`."""


@dataclass(frozen=True, kw_only=True)
class MissingPart:
    """A part of the page that could not be drawn."""

    part: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class NightReport:
    """One day of instances, by when they were received. Films are named by instance id alone: no UID is in it."""

    day: date
    zone: ZoneInfo
    """Whose midnights begin and end the day."""
    span: Span
    """That it reports on. Of a day that runs, its end is when it was looked at, and a later report has more."""
    day_over: bool
    made_at: datetime
    looked_at: datetime
    """What ended before this is in it."""
    follows: datetime | None
    """Where the report of the day before ends: another time than the span's start where the zone was changed; None
    without one."""
    site: str
    senders: tuple[Sender, ...]
    unaccounted: tuple[Unaccounted, ...]
    """Films of the day."""
    unaccounted_before: tuple[Unaccounted, ...]
    """Films that were received before the day."""
    identity_changed: tuple[IdentityChange, ...]
    """Films that came again with another identity."""
    demographics_changed: dict[str, int]
    """Films sent again with another name of the same Patient ID, by AE title."""
    turnaround: Turnaround
    orphans: tuple[str, ...] | None
    """Of films of the spool that are not in the database, the first twelve digits of their digests; None where this
    process does not see the spool."""
    refused: Counts
    """C-STOREs answered with an error, which were not received, by status."""
    contexts_refused: Counts
    """Presentation contexts that were not accepted, by SOP class, and why where it is not the class."""
    not_associated: Counts
    """Peers that were not let in, by reason."""
    scored: int
    flagged: tuple[FlaggedFilm, ...]
    distributions: tuple[Distribution, ...]
    failed: tuple[FailedFilm, ...]
    late: tuple[LateFilm, ...]
    sources: tuple[Source, ...]
    in_force: tuple[InForce, ...]
    changes: tuple[ServiceChange, ...]
    alarms: tuple[DayAlarm, ...]
    """That stood at some time of the day, oldest first."""
    undelivered: tuple[LostMessage, ...]
    outages: tuple[Outage, ...]
    """Channels on which messages do not arrive now."""
    storage: Storage
    drift: DriftResult
    chain: DayChain
    given_up: tuple[DayGivenUp, ...]
    """Days of the last weeks that have no report."""
    backlog: Backlog
    performance: LivePerformance | None
    """How the live bundle did on films with labels."""
    performance_missing: str
    """Why there is none, else ""."""
    conditions: tuple[Condition, ...] = ()
    """Rules that this day breaks."""
    acknowledged: tuple[AcknowledgedCondition, ...] = ()
    """Conditions that somebody knows of."""
    page_without: tuple[MissingPart, ...] = ()
    """Parts that report.html lacks."""

    @property
    def difference(self) -> int:
        """Films that are not accounted for, summed over senders without sign."""
        return sum(abs(sender.difference) for sender in self.senders)

    @property
    def flags_by_finding(self) -> dict[str, int]:
        return dict(Counter(name for film in self.flagged for name in film.flags))

    @property
    def known(self) -> dict[tuple[str, str], Acknowledgement]:
        """Rule and subject of what somebody has acknowledged."""
        return {(known.rule, known.subject): known.acknowledgement for known in self.acknowledged}

    @property
    def facts(self) -> NightFacts:
        """What the night's rules look at."""
        return NightFacts(
            day=self.day,
            senders=self.senders,
            unaccounted=self.unaccounted,
            unaccounted_before=self.unaccounted_before,
            orphans=self.orphans,
            chain=self.chain.check,
            performance=self.performance,
            drift=self.drift,
            sending=frozenset(source.calling_ae for source in self.sources),
            drifting=frozenset(alarm.subject for alarm in self.alarms if alarm.rule == DRIFT),
        )

    def as_dict(self) -> dict[str, Any]:
        """report.json."""
        turnaround = self.turnaround
        seconds = turnaround.seconds and {"films": turnaround.films} | turnaround.seconds.as_dict()
        return {
            "date": to_json(self.day),
            "zone": self.zone.key,
            "start": self.span.start.isoformat(),
            "end": self.span.end.isoformat(),
            "day_over": self.day_over,
            "made_at": to_json(self.made_at),
            "looked_at": self.looked_at.isoformat(),
            "follows": self.follows and self.follows.isoformat(),
            "site": self.site,
            "notice": NOTICE,
            "senders": to_json(self.senders),
            "difference": self.difference,
            "unaccounted": to_json(self.unaccounted),
            "unaccounted_before": to_json(self.unaccounted_before),
            "identity_changed": to_json(self.identity_changed),
            "demographics_changed": self.demographics_changed,
            "hours": to_json(turnaround.hours),
            "seconds": seconds,
            "untimed": turnaround.untimed,
            "throughput": to_json(turnaround.throughput),
            "orphans": to_json(self.orphans),
            "refused": self.refused,
            "contexts_refused": self.contexts_refused,
            "not_associated": self.not_associated,
            "flags": {"scored": self.scored, "flagged": len(self.flagged), "by_finding": self.flags_by_finding},
            "flagged": to_json(self.flagged),
            "distributions": to_json(self.distributions),
            "failed": to_json(self.failed),
            "late": to_json(self.late),
            "sources": to_json(self.sources),
            "in_force": to_json(self.in_force),
            "changes": to_json(self.changes),
            "alarms": to_json(self.alarms),
            "undelivered": to_json(self.undelivered),
            "outages": to_json(self.outages),
            "storage": to_json(self.storage),
            "drift": to_json(self.drift),
            "chain": to_json(self.chain),
            "given_up": to_json(self.given_up),
            "backlog": to_json(self.backlog),
            "performance": to_json(self.performance),
            "performance_missing": self.performance_missing,
            "conditions": to_json(self.conditions),
            "acknowledged": to_json(self.acknowledged),
            "page_without": to_json(self.page_without),
        }
