"""What a benchmark hands back, and how it is shown: sections of rows, printed as tables and written as JSON."""

import json
import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A measure over the rounds."""

    minimum: float
    median: float
    maximum: float
    rounds: int

    def __str__(self) -> str:
        return f"{_short(self.minimum)} / [bold]{_short(self.median)}[/bold] / {_short(self.maximum)}"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A number that has a limit to keep."""

    value: float
    at_least: float | None = None
    below: float | None = None

    @property
    def met(self) -> bool:
        over = self.at_least is None or self.value >= self.at_least
        return over and (self.below is None or self.value < self.below)

    def __str__(self) -> str:
        wanted = f"≥ {self.at_least:g}" if self.at_least is not None else f"< {self.below:g}"
        return f"[{'green' if self.met else 'red'}]{_short(self.value)} ({wanted})[/]"


Cell = str | int | float | Spread | Target
Row = dict[str, Cell]


@dataclass(frozen=True, kw_only=True)
class Section:
    """One table. Spreads are shown as min / median / max."""

    title: str
    rows: list[Row]
    note: str = ""


def spread(values: Iterable[float]) -> Spread:
    found = list(values)
    return Spread(minimum=min(found), median=median(found), maximum=max(found), rounds=len(found))


def ratio(ours: list[float], theirs: list[float]) -> Spread:
    """Ours over theirs, round by round: whatever else the machine did in a round, it did to both."""
    return spread(mine / other for mine, other in zip(ours, theirs, strict=True))


def interleave(contestants: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run every contestant once a round, each round beginning with the next one. Returns each one's measures."""
    names = list(contestants)
    measures: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            measures[name].append(contestants[name]())
    return measures


def hardware() -> dict[str, str]:
    """What the numbers were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def show(section: Section, console: Console) -> None:
    table = Table(title=section.title, title_justify="left", title_style="bold", header_style="bold", min_width=60)
    for number, name in enumerate(section.rows[0]):
        table.add_column(name, justify="left" if number == 0 else "right")
    for row in section.rows:
        table.add_row(*(_short(cell) if isinstance(cell, float) else str(cell) for cell in row.values()))
    console.print(table)
    if section.note:
        console.print(section.note, style="dim", highlight=False)
    console.print()


def write_json(path: Path, machine: dict[str, str], results: dict[str, list[Section]]) -> None:
    content = {
        "machine": machine,
        "benchmarks": {name: [asdict(one) for one in found] for name, found in results.items()},
    }
    path.write_text(json.dumps(content, indent=2, default=_plain) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
