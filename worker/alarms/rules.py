"""The rules, and what it takes to break one. Thresholds are settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dicom_gateway.errors import NoSpace, StoreUnavailable, in_hexadecimal


class When(StrEnum):
    """When a rule is looked at."""

    LIVE = "live"
    """Every `alarm_seconds`, by the relay."""
    NIGHT = "night"
    """With the night's report."""


@dataclass(frozen=True, kw_only=True)
class AlarmRule:
    id: str
    when: When
    setting: str
    """Name of its threshold in the settings, "" where there is nothing to choose."""
    meaning: str
    advice: str
    """What to do first."""
    counts: bool = False
    """Whether its value counts films: more of them than were acknowledged raise the alarm again."""
    release: float = 1.0
    """Times the threshold: where an open alarm is cleared, so that a value that wavers there raises it once."""


RULES: tuple[AlarmRule, ...] = (
    AlarmRule(
        id="backlog",
        when=When.LIVE,
        setting="alarm_backlog_seconds",
        meaning="the oldest waiting film has waited longer than this",
        advice="xrayq status: is a worker ready?",
        release=0.5,
    ),
    AlarmRule(
        id="dead_letters",
        when=When.LIVE,
        setting="alarm_dead_letters",
        meaning="so many films failed within 24 hours",
        advice="xrayq instance list --state failed",
        counts=True,
    ),
    AlarmRule(
        id="spool_space",
        when=When.LIVE,
        setting="alarm_spool_mib",
        meaning="the spool has less free space than this",
        advice=f"make room: below the reserve C-STORE is answered with {in_hexadecimal(NoSpace.status)}",
        release=1.25,
    ),
    AlarmRule(
        id="refusals",
        when=When.LIVE,
        setting="alarm_refusals",
        meaning="so many C-STOREs, or presentation contexts, of an AE were refused within an hour",
        advice="C-STOREs: look up the status in CONFORMANCE.md; the films are still the sender's. Contexts: "
        "remove non-storage SOP classes (Query/Retrieve, Worklist, Print) from this destination's "
        "configuration on the device",
        counts=True,
    ),
    AlarmRule(
        id="quarantine",
        when=When.LIVE,
        setting="alarm_quarantine_films",
        meaning="so many films of unknown peers wait in quarantine, and are not scored",
        advice="xrayq peer quarantine, then xrayq peer admit AE or xrayq peer reject AE",
        counts=True,
    ),
    AlarmRule(
        id="database",
        when=When.LIVE,
        setting="",
        meaning="a relay cannot read or write the database for five minutes; sent to people, not listed",
        advice=f"xrayq doctor; C-STORE is answered with {in_hexadecimal(StoreUnavailable.status)} meanwhile",
    ),
    AlarmRule(
        id="sender_silent",
        when=When.LIVE,
        setting="alarm_silent_films",
        meaning="an AE sent no new film, in hours in which it sent so many in each of the last weeks",
        advice="ask whether the device or its queue stands still",
    ),
    AlarmRule(
        id="report_late",
        when=When.LIVE,
        setting="alarm_report_hours",
        meaning="a night's report is late by so many hours",
        advice="the relay's log names why",
    ),
    AlarmRule(
        id="report_undelivered",
        when=When.LIVE,
        setting="alarm_result_minutes",
        meaning="results are not at their destination, or not confirmed by it, so many minutes after their films ended",
        advice="xrayq report list says why",
    ),
    AlarmRule(
        id="not_received",
        when=When.LIVE,
        setting="alarm_not_received_films",
        meaning="a PACS has so many chest films of the last 28 days that did not come",
        advice="xrayq pacs list names them and why; films that never shall come: xrayq alarm acknowledge",
        counts=True,
    ),
    AlarmRule(
        id="certificate",
        when=When.LIVE,
        setting="alarm_certificate_days",
        meaning="our certificate for TLS expires within so many days, or cannot be read",
        advice="put a new one in its place: it is taken without a restart",
    ),
    AlarmRule(
        id="audit_repository",
        when=When.LIVE,
        setting="alarm_audit_minutes",
        meaning="the site's audit repository does not have an audit event after so many minutes",
        advice="xrayq audit messages says why; nothing is lost, the audit trail keeps what waits",
    ),
    AlarmRule(
        id="commitment_unreported",
        when=When.LIVE,
        setting="",
        meaning="an AE asked for storage commitment and was not reported to within an hour, or was given up",
        advice="xrayq commitment list says why; XRAYQ_COMMITMENT_TO says where each AE is reported to",
    ),
    AlarmRule(
        id="report_failed",
        when=When.NIGHT,
        setting="",
        meaning="a day has no report: making it failed again and again",
        advice="xrayq audit report --date DAY --out REPORTS/DAY shows why; with a report there it is over",
    ),
    AlarmRule(
        id="unaccounted",
        when=When.NIGHT,
        setting="",
        meaning="films of the day, or of days before, are not accounted for",
        advice="xrayq audit report names them; lost for good: xrayq alarm acknowledge",
        counts=True,
    ),
    AlarmRule(
        id="orphans",
        when=When.NIGHT,
        setting="",
        meaning="films of the spool are not in the database: lost by it, or never answered with success",
        advice="xrayq submit --orphans receives them",
    ),
    AlarmRule(
        id="trail_broken",
        when=When.NIGHT,
        setting="",
        meaning="the audit trail's chain is broken, or a score is not the one that it tells of",
        advice="xrayq audit verify names the row or the film; compare with a head kept elsewhere",
    ),
    AlarmRule(
        id="drift",
        when=When.NIGHT,
        setting="drift_psi",
        meaning="films or scores of an AE differ from its frozen reference",
        advice="xrayq drift show; look at films of that device",
    ),
    AlarmRule(
        id="performance",
        when=When.NIGHT,
        setting="",
        meaning="live sensitivity or specificity left the interval it was calibrated in",
        advice="xrayq labels performance",
    ),
)


BY_ID: dict[str, AlarmRule] = {rule.id: rule for rule in RULES}


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A rule that is broken now. It holds counts, times and codes; of a film the AE title alone."""

    rule: str
    subject: str = ""
    """An AE title, a finding, a machine or a destination; "" for the whole service."""
    value: float
    threshold: float
    text: str
    """One sentence for a person, at most 500 characters."""
    about: tuple[str, ...] = ()
    """What is wrong, one by one: instance ids, measures. One that is new raises an acknowledged alarm again."""
    counted: float | None = None
    """Films in `value`; 0 where `value` counts other things; None where `value` is the number of films."""

    def is_known(self, acknowledged: Mapping[str, Any]) -> bool:
        """Whether it is what was acknowledged: nothing new, and not more films."""
        films = self.value if self.counted is None else self.counted
        if BY_ID[self.rule].counts and films > acknowledged["value"]:
            return False
        known = acknowledged["about"]  # None of a release that did not keep it
        return known is None or set(self.about) <= set(known)


USUAL_DAYS = 28
"""Days before the day of a report: an AE that sent nothing in all of them is no sender any more."""
