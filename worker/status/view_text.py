"""What the lines of the view are drawn with: labels, clocks, time spans, bars."""

from collections.abc import Sequence
from datetime import datetime
from textwrap import wrap
from zoneinfo import ZoneInfo

from rich.text import Text

BLOCKS, ASCII = "▁▂▃▄▅▆▇█", "_.-=oO@#"
LABEL = 12
BAD, WARN, GOOD, QUIET, STRONG = "bold red", "yellow", "green", "dim", "bold"


def with_label(label: str, text: Text) -> Text:
    return Text.assemble((f"{label:<{LABEL}}", STRONG), " ", text)


def wrapped(text: str, width: int) -> list[str]:
    """As lines beside a label."""
    return wrap(text, max(20, width - LABEL - 1), break_on_hyphens=False)


def short_time(at: datetime, now: datetime, zone: ZoneInfo) -> str:
    """Eleven characters at most: the time of day, with the date where it is another one."""
    there = at.astimezone(zone)
    return f"{there:%H:%M:%S}" if there.date() == now.astimezone(zone).date() else f"{there:%m-%d %H:%M}"


def duration(seconds: float) -> str:
    """A time span in its two largest units."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    if seconds < 172_800:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
    return f"{seconds // 86_400:.0f} days"


def steps(films: Sequence[int], columns: int) -> list[int]:
    """Films a minute as films of each column of a line."""
    step = len(films) // columns
    return [sum(films[start : start + step]) for start in range(0, len(films), step)]


def sparkline(films: Sequence[int], most: int, marks: str = BLOCKS) -> str:
    """One character for each, the highest for `most`; blank where there is none."""
    return "".join(marks[(len(marks) - 1) * number // most] if number else " " for number in films)
