"""What a night finds when it holds films and scores beside their references, as values and in words."""

from collections import Counter
from dataclasses import dataclass, fields
from typing import Any

from model.json_value import plain
from worker.db.film_measures import UNITS
from worker.monitoring.drift_reference import Reference

LEAST_OUTSIDE = 0.03
"""Share of films outside the usual range, beyond chance, from which they count as drift."""


@dataclass(frozen=True, kw_only=True)
class DriftOptions:
    reference_films: int
    """First films of an AE that become its reference."""
    least_films: int
    """Below it nothing is tested."""
    alpha: float
    """False discovery rate of a night."""
    psi: float
    """Beyond chance."""


@dataclass(frozen=True, kw_only=True)
class Quantiles:
    """Reference and films of a measure that raised an alarm, side by side."""

    shares: tuple[int, ...]
    """Percent."""
    reference: tuple[float, ...]
    films: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class DriftTest:
    """One measure of an AE held beside its reference, by two tests. Numbers are rounded as they are published."""

    calling_ae: str
    measure: str
    bundle: str
    """Digest, "" of a measure that depends on none."""
    films: int
    days: int
    """Days that the films are from."""
    reference_films: int
    psi: float
    psi_by_chance: float
    p: float
    q: float
    median: float
    reference_median: float
    usual: tuple[float, float]
    """Range of the middle 99 % of the reference."""
    outside: float
    """Share of the films outside it."""
    outside_by_chance: float
    outside_p: float
    outside_q: float
    moved: bool
    """The films as a whole."""
    outliers: bool
    """Too many are outside."""
    note: str
    """In words; "" where nothing is to be seen."""
    quantiles: Quantiles | None
    """Only where there is an alarm."""

    @property
    def excess(self) -> float:
        """PSI beyond chance."""
        return self.psi - self.psi_by_chance

    @property
    def outside_excess(self) -> float:
        """Share of the films outside the usual range, beyond chance."""
        return self.outside - self.outside_by_chance

    @property
    def alarm(self) -> bool:
        return self.moved or self.outliers

    def as_dict(self) -> dict[str, Any]:
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)} | {"alarm": self.alarm}


@dataclass(frozen=True, kw_only=True)
class Untested:
    """One measure of an AE that could not be held beside a reference."""

    calling_ae: str
    measure: str
    bundle: str
    films: int
    days: int
    why: str


@dataclass(frozen=True, kw_only=True)
class DriftResult:
    """A day held beside the references in force."""

    tests: tuple[DriftTest, ...]
    """By AE and measure."""
    untested: tuple[Untested, ...]
    frozen: tuple[Reference, ...]
    options: DriftOptions

    @property
    def alarms(self) -> tuple[DriftTest, ...]:
        return tuple(test for test in self.tests if test.alarm)


def outside_words(test: DriftTest) -> str:
    """12 % of the films lie outside 0.3 to 0.71, by chance 0.8 %"""
    low, high = test.usual
    shares = f"{test.outside:.1%} of the films lie outside", f"by chance {test.outside_by_chance:.1%}"
    return f"{shares[0]} {low:.3g} to {in_units(test.measure, high)}, {shares[1]}"


def in_units(measure: str, value: float) -> str:
    """0.836 of the display range"""
    return f"{value:.3g} {UNITS.get(measure, '')}".rstrip()


def untested_words(result: DriftResult) -> list[str]:
    """A sentence for each AE and reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for left in result.untested:
        found.setdefault((left.calling_ae, left.why), []).append(left.measure)
    partly = {test.calling_ae for test in result.tests}
    reasons = Counter(calling_ae for calling_ae, _ in found)
    return [
        f"{calling_ae}, {', '.join(measures) if calling_ae in partly or reasons[calling_ae] > 1 else 'all'}: {why}."
        for (calling_ae, why), measures in found.items()
    ]
