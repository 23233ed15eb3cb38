"""Which flags are told by webhook and mail, and when: urgent ones at once, others not in the quiet hours."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class QuietHours:
    """Of every day, by the clock of the site: daylight saving makes a night longer or shorter."""

    begin: time
    end: time
    """Before `begin`: of the next day."""
    zone: tzinfo

    def end_of(self, moment: datetime) -> datetime | None:
        """When the quiet hours end in which the moment lies; None where it lies in none.

        A time that the clock skips in spring counts as the hour after it, one that comes twice in autumn as the first.
        """
        today = moment.astimezone(self.zone).date()
        for day in (today - DAY, today):
            begin = datetime.combine(day, self.begin, self.zone).astimezone(UTC)
            last = day if self.begin < self.end else day + DAY
            end = datetime.combine(last, self.end, self.zone).astimezone(UTC)
            if begin <= moment < end:
                return end
        return None


@dataclass(frozen=True, kw_only=True)
class Telling:
    """From the settings."""

    flags: frozenset[str] = frozenset()
    """Findings whose flag is told; none named: every one."""
    urgent: frozenset[str] = frozenset()
    """Findings whose flag does not wait."""
    quiet: QuietHours | None = None

    def told(self, flags: Collection[str]) -> tuple[str, ...]:
        """Those of a film's flags that are told, in their order."""
        return tuple(flag for flag in flags if not self.flags or flag in self.flags)

    def is_urgent(self, flags: Collection[str]) -> bool:
        """Whether one of a film's flags that are told does not wait."""
        return not self.urgent.isdisjoint(self.told(flags))

    def due(self, flags: Collection[str], now: datetime) -> datetime | None:
        """When a film's flags are told at the earliest; None where none of them is told."""
        if not self.told(flags):
            return None
        quiet_until = self.quiet.end_of(now) if self.quiet and not self.is_urgent(flags) else None
        return quiet_until or now
