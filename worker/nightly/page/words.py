"""Numbers and times of the report as a person reads them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo


def shown(value: object) -> object:
    """12,345 for whole numbers."""
    return f"{value:,}" if isinstance(value, int) else value


def in_films(number: int) -> str:
    return f"{number:,} {'film' if number == 1 else 'films'}"


def in_others(number: int) -> str:
    return f"{number:,} other {'object' if number == 1 else 'objects'}"


def local(moment: str, content: dict[str, Any]) -> str:
    """An ISO time in the report's zone, to the minute."""
    return f"{datetime.fromisoformat(moment).astimezone(ZoneInfo(content['zone'])):%Y-%m-%d %H:%M}"


def until(content: dict[str, Any]) -> str:
    """Where the time that is reported on ends, on the clock: midnight, or when a day that is not over was looked at."""
    return "midnight" if content["day_over"] else local(content["end"], content)[-5:]


def at_the_end(content: dict[str, Any]) -> str:
    return "at the end of the day" if content["day_over"] else f"at {until(content)}"


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
