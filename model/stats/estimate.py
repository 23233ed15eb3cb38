"""A number with its 95 % interval."""

from dataclasses import dataclass
from typing import Any

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
    patients: int | None = None
    """Their patients, where there are fewer; None, and not in the JSON, where each film has its own or nobody counted.
    """

    @property
    def counts(self) -> str:
        """n=110, or n=110 of 11 patients"""
        return f"n={self.n}" + ("" if self.patients is None else f" of {self.patients} patients")

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().as_dict().items() if name != "patients" or value is not None}
