"""Numbers and times of the report as a person reads them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

UNITS = ("bytes", "kB", "MB", "GB", "TB")


def shown(value: object) -> object:
    """12,345 for whole numbers."""
    return f"{value:,}" if isinstance(value, int) else value


def local(moment: str, content: dict[str, Any]) -> str:
    """An ISO time in the report's zone, to the minute."""
    return f"{datetime.fromisoformat(moment).astimezone(ZoneInfo(content['zone'])):%Y-%m-%d %H:%M}"


def size(number: float) -> str:
    """1.4 GB, in steps of a thousand."""
    for unit in UNITS[:-1]:
        if number < 1000:
            return f"{number:.0f} {unit}" if number >= 100 or unit == UNITS[0] else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} {UNITS[-1]}"


def lasted(seconds: float) -> str:
    """In the largest unit of which there are two."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def reached(seconds: float | None) -> str:
    """A percentile of times to an end that some films do not have."""
    return "not reached" if seconds is None else f"{seconds:g} s"


def frozen(detail: Mapping[str, Any]) -> str:
    """The audit detail of a frozen reference."""
    measures, bundle = detail["measures"], detail["bundle"]
    counts = sorted({one["films"] for one in measures.values()})
    films = " to ".join(f"{number:,}" for number in dict.fromkeys((counts[0], counts[-1])))
    first = "replaced" if any(one["old"] for one in measures.values()) else "new"
    scored = f", bundle {bundle[:12]}" if bundle else ""
    return f"{detail['calling_ae']}, {first}: {', '.join(measures)}; {films} films{scored}"
