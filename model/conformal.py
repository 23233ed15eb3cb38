"""Prediction sets: the findings that a film may have, so that the true one is among them as often as promised.

Split conformal prediction (Vovk et al. 2005; Angelopoulos & Bates 2023) with the score 1 - p of the true finding, and a
limit for each finding from its own calibration films (class-conditional, or Mondrian). The promise then holds for each
finding alone, and does not change with how common a finding is: COVID-19 is 28 % of the validation films, 11 % of the
test films, and will be another share in each hospital. On 20 halvings of the 557 validation and test films by patient
at 90 % (`xrayq study calibration`), one limit for all findings covered normal .979, pneumonia .677, COVID-19 .869; a
limit for each .912, .879, .910. The price: 57 % of films unsure instead of 31 %.

The promise: over new films exchangeable with the calibration films, a film's set holds its finding with at least the
stated chance. It is over films on the average, not for this one, and it ends where films are of another kind.

A set that is not exactly one finding leaves the film unsure. Several: the network cannot tell them apart. None: the
film is unlike the calibration films of every finding; the set stays empty, because to fill it would hide just that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.manifest_values import block, by_finding, count, number, share

DIGITS = 6
"""Decimal places of a limit, rounded down."""


@dataclass(frozen=True, kw_only=True)
class Conformal:
    """How prediction sets are made. Lives in the bundle."""

    coverage: float
    """Promised share of films whose set holds their finding, 0..1."""
    limits: dict[str, float]
    """By finding, the smallest probability that puts it into the set."""
    films: dict[str, int]
    """By finding, the calibration films its limit rests on."""
    record: dict[str, Any] = field(default_factory=dict)
    """On which films it was fitted."""

    @classmethod
    def read(cls, found: object, findings: tuple[str, ...]) -> "Conformal":
        """From a manifest. Raises KeyError or ValueError."""
        given = block(found, "conformal")
        coverage = number(given["coverage"], "coverage of prediction sets")
        if not 0 < coverage < 1:
            raise ValueError(f"coverage of prediction sets must be between 0 and 1, not {coverage:g}")
        return cls(
            coverage=coverage,
            limits=by_finding(given["limits"], "limit of prediction sets", findings, share),
            films=by_finding(given["films"], "films of prediction sets", findings, count),
            record=block(given.get("record", {}), "record of prediction sets"),
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "method": "split, by finding, score 1 - p",
            "coverage": self.coverage,
            "limits": self.limits,
            "films": self.films,
        } | ({"record": self.record} if self.record else {})

    def prediction_set(self, probabilities: dict[str, float]) -> tuple[str, ...]:
        """Findings that the film may have, in the bundle's order; may be empty."""
        return tuple(name for name, chance in probabilities.items() if chance >= self.limits[name])


def fit(
    chances: NDArray[np.float64], labels: NDArray[np.int64], findings: tuple[str, ...], *, coverage: float
) -> Conformal:
    """Limits from calibration films.

    Args:
        chances: probabilities [N, findings].
        labels: [N] index of the finding of each film.
    """
    own = {name: chances[labels == index, index] for index, name in enumerate(findings)}
    return Conformal(
        coverage=coverage,
        limits={name: limit(values, coverage) for name, values in own.items()},
        films={name: len(values) for name, values in own.items()},
    )


def limit(values: NDArray[np.float64], coverage: float) -> float:
    """The smallest probability still in the set: of n true findings, the ceil((n + 1) coverage)-th from above.

    0, so that the set always holds the finding, where n is too small for the promise.
    """
    rank = ceil((len(values) + 1) * coverage - 1e-9)  # rounded: 10 x 0.9 is 9.000000000000002 as a float
    if rank > len(values):
        return 0.0
    return round(float(np.floor(np.sort(values)[::-1][rank - 1] * 10**DIGITS) / 10**DIGITS), DIGITS)


def unsure(found: Sequence[str] | None) -> bool:
    """Whether a prediction set names several findings, or none. None: the bundle makes no sets, and is never unsure."""
    return found is not None and len(found) != 1
