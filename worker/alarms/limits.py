"""The thresholds of the rules that do not wait for the night."""

from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo


@dataclass(frozen=True, kw_only=True)
class AlarmLimits:
    """The thresholds, as the settings have them."""

    backlog_seconds: float
    dead_letters: int
    spool: Path
    spool_mib: float
    refusals: int
    quarantine_films: int
    silent_films: int
    report_hours: float
    report_time: time | None
    """When the report of the day before is due, in `zone`; None: never."""
    zone: ZoneInfo
    """In which a day, and a week's hour, is counted."""
    since: datetime
    """When this process began to look: on a machine that was off, the report of the night is not late yet."""
    result_minutes: float
    not_received: int
    host: str
    """Name of this machine: each relay tells of the disk that it sees."""
    certificate: Path | None = None
    """Ours for TLS; None: there is none."""
    certificate_days: float = 30.0
    audit_minutes: float | None = None
    """None: no audit repository wants anything."""


def clock(moment: datetime, zone: ZoneInfo) -> str:
    """As an alarm's text has it: 2026-11-28 14:05 Europe/Berlin."""
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M} {zone.key}"
