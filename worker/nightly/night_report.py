"""What a night's report says, as values. Its files and its page are made from it alone."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from model.json_value import plain
from model.notice import NOTICE
from worker.alarms.acknowledge import AcknowledgedCondition, Acknowledgement
from worker.alarms.night_rules import DRIFT, NightFacts
from worker.alarms.rules import Condition
from worker.alarms.undelivered import LostMessage, Outage
from worker.audit.reconciliation import Sender, Unaccounted
from worker.db.span import Span
from worker.monitoring.drift_result import DriftResult
from worker.monitoring.live_labels import LivePerformance
from worker.nightly.corrections import IdentityChange
from worker.nightly.disks import Storage
from worker.nightly.films import Distribution, FailedFilm, LateFilm, Turnaround
from worker.nightly.marks import MarkedFilm, SenderMarks
from worker.nightly.operations import Backlog, DayAlarm, DayChain, InForce, ServiceChange, Source
from worker.nightly.published import DayGivenUp
from worker.pacs.kept import PacsDay
from worker.reporting.not_arrived import LostResults, ResultOutage

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
    studies: dict[str, int]
    """Whose first object came on the day, by outcome; one that is still open is waiting."""
    scored: int
    marked: tuple[MarkedFilm, ...]
    """Flagged, or unsure, or both."""
    marks: tuple[SenderMarks, ...]
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
    lost_results: tuple[LostResults, ...]
    """Results for the PACS that were given up on the day."""
    result_outages: tuple[ResultOutage, ...]
    """Destinations that results do not reach now."""
    storage: Storage
    drift: DriftResult
    chain: DayChain
    pacs: tuple[PacsDay, ...]
    """What PACSs have of the day and we do not; empty where none was asked."""
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
    def flagged(self) -> tuple[MarkedFilm, ...]:
        return tuple(film for film in self.marked if film.flags)

    @property
    def unsure(self) -> tuple[MarkedFilm, ...]:
        """Whose prediction set is not exactly one finding; they may have a flag."""
        return tuple(film for film in self.marked if film.unsure)

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
            "date": plain(self.day),
            "zone": self.zone.key,
            "start": self.span.start.isoformat(),
            "end": self.span.end.isoformat(),
            "day_over": self.day_over,
            "made_at": plain(self.made_at),
            "looked_at": self.looked_at.isoformat(),
            "follows": self.follows and self.follows.isoformat(),
            "site": self.site,
            "notice": NOTICE,
            "senders": plain(self.senders),
            "difference": self.difference,
            "unaccounted": plain(self.unaccounted),
            "unaccounted_before": plain(self.unaccounted_before),
            "identity_changed": plain(self.identity_changed),
            "demographics_changed": self.demographics_changed,
            "hours": plain(turnaround.hours),
            "seconds": seconds,
            "untimed": turnaround.untimed,
            "throughput": plain(turnaround.throughput),
            "orphans": plain(self.orphans),
            "refused": self.refused,
            "contexts_refused": self.contexts_refused,
            "not_associated": self.not_associated,
            "studies": self.studies,
            "flags": {
                "scored": self.scored,
                "flagged": len(self.flagged),
                "unsure": len(self.unsure),
                "neither": sum(sender.neither for sender in self.marks),
                "by_finding": self.flags_by_finding,
                "by_sender": plain(self.marks),
            },
            "flagged": plain(self.flagged),
            "unsure": [film.id for film in self.unsure],
            "distributions": plain(self.distributions),
            "failed": plain(self.failed),
            "late": plain(self.late),
            "sources": plain(self.sources),
            "in_force": plain(self.in_force),
            "changes": plain(self.changes),
            "alarms": plain(self.alarms),
            "undelivered": plain(self.undelivered),
            "outages": plain(self.outages),
            "lost_results": plain(self.lost_results),
            "result_outages": plain(self.result_outages),
            "storage": plain(self.storage),
            "drift": plain(self.drift),
            "chain": plain(self.chain),
            "pacs": plain(self.pacs),
            "given_up": plain(self.given_up),
            "backlog": plain(self.backlog),
            "performance": plain(self.performance),
            "performance_missing": self.performance_missing,
            "conditions": plain(self.conditions),
            "acknowledged": plain(self.acknowledged),
            "page_without": plain(self.page_without),
        }
