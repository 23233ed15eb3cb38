"""Numbers and times of the report as a person reads them."""

from collections.abc import Mapping
from datetime import datetime
from math import isinf
from typing import Any
from zoneinfo import ZoneInfo

from worker.nightly.night_report import NightReport


def shown(value: object) -> object:
    """12,345 for whole numbers."""
    return f"{value:,}" if isinstance(value, int) else value


def in_films(number: int) -> str:
    return f"{number:,} {'film' if number == 1 else 'films'}"


def in_others(number: int) -> str:
    return f"{number:,} other {'object' if number == 1 else 'objects'}"


def local(moment: datetime, zone: ZoneInfo) -> str:
    """A time in the report's zone, to the minute."""
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"


def until(report: NightReport) -> str:
    """Where the time that is reported on ends, on the clock: midnight, or when a day that is not over was looked at."""
    return "midnight" if report.day_over else local(report.span.end, report.zone)[-5:]


def at_the_end(report: NightReport) -> str:
    return "at the end of the day" if report.day_over else f"at {until(report)}"


def lasted(seconds: float) -> str:
    """In the largest unit of which there are two."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def reached(seconds: float) -> str:
    """A percentile of times to an end that some films do not have."""
    return "not reached" if isinf(seconds) else f"{seconds:g} s"


def frozen(detail: Mapping[str, Any]) -> str:
    """The audit detail of a frozen reference, as the audit trail has it."""
    measures, bundle = detail["measures"], detail["bundle"]
    counts = sorted({sample["films"] for sample in measures.values()})
    films = " to ".join(f"{number:,}" for number in dict.fromkeys((counts[0], counts[-1])))
    first = "replaced" if any(sample["old"] for sample in measures.values()) else "new"
    scored = f", bundle {bundle[:12]}" if bundle else ""
    return f"{detail['calling_ae']}, {first}: {', '.join(measures)}; {films} films{scored}"
