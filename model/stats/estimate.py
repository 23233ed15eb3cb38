"""A number with its 95 % interval."""

from dataclasses import dataclass

from model.json_value import JsonValue

Interval = tuple[float, float]
"""(low, high), four digits."""


@dataclass(frozen=True, kw_only=True)
class Estimate(JsonValue):
    value: float | None
    """None where it is not defined, such as the AUROC of films of one class."""
    interval95: Interval | None
    """None where there are too few patients for one."""


@dataclass(frozen=True, kw_only=True)
class Proportion(Estimate):
    """A share of films; its value is None where there is none."""

    interval95: Interval
    """Clopper-Pearson."""
    n: int
    """Films that it is a share of."""
