"""Is a rate still where it was calibrated? A test that may be looked at after every film.

A plain interval, looked at each night, leaves the truth sooner or later by chance. Here evidence is a wager against the
calibrated interval: a mixture of all rates (Jeffreys' prior) over the rate inside the interval that explains the
outcomes best. While the true rate is inside, it ever reaches 1 / alpha with a chance of at most alpha, however often
one looks (Ville's inequality; Robbins 1970, "Statistical methods related to the law of the iterated logarithm").
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp, lgamma, log
from typing import Any

from model.stats.binomial import interval

ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class RateWatch:
    """A rate as it is now, and whether it left its calibrated interval."""

    successes: int
    trials: int
    interval95: tuple[float, float]
    """Clopper-Pearson, of these outcomes alone."""
    calibrated: tuple[float, float] | None
    """Where the rate was when the bundle was calibrated; None: nothing to compare with."""
    evidence: float | None
    """Largest wager so far."""
    alarm_from: float
    """Evidence that raises the alarm: 1 / alpha."""
    alarm_at: int | None
    """The outcome, counted from 1, that raised the alarm."""

    @property
    def value(self) -> float | None:
        return self.successes / self.trials if self.trials else None

    @property
    def published_value(self) -> float | None:
        """To four places."""
        return None if self.value is None else round(self.value, 4)

    @property
    def published_evidence(self) -> float | None:
        """To three places."""
        return None if self.evidence is None else round(self.evidence, 3)

    @property
    def alarm(self) -> bool:
        return self.alarm_at is not None

    def as_dict(self) -> dict[str, Any]:
        published = {"value": self.published_value, "evidence": self.published_evidence}
        return asdict(self) | published | {"alarm": self.alarm}


def watch(
    outcomes: Sequence[bool], calibrated: tuple[float, float] | None = None, *, alpha: float = ALPHA
) -> RateWatch:
    """Follow outcomes in the order they came.

    Args:
        outcomes: one for each film of the rate's kind: flagged or not, right or not.
        calibrated: (low, high) of the rate, 0..1.
        alpha: chance of a false alarm, over all time.
    """
    successes, largest, alarm = 0, 0.0, None
    if calibrated is not None:
        for count, outcome in enumerate(outcomes, 1):
            successes += outcome
            largest = max(largest, log_evidence(successes, count, calibrated))
            if alarm is None and largest >= -log(alpha):
                alarm = count
    successes = sum(outcomes)
    return RateWatch(
        successes=successes,
        trials=len(outcomes),
        interval95=interval(successes, len(outcomes)),
        calibrated=calibrated,
        evidence=None if calibrated is None else exp(min(largest, 700.0)),
        alarm_from=1 / alpha,
        alarm_at=alarm,
    )


def log_evidence(successes: int, trials: int, calibrated: tuple[float, float]) -> float:
    """Log of the wager against the interval after so many outcomes, in natural units."""
    failures = trials - successes
    mixture = _log_beta(successes + 0.5, failures + 0.5) - _log_beta(0.5, 0.5)
    low, high = calibrated
    best = min(max(successes / trials, low), high) if trials else low
    return mixture - _log_likelihood(successes, failures, best)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _log_likelihood(successes: int, failures: int, p: float) -> float:
    if (successes and p <= 0) or (failures and p >= 1):
        return float("-inf")
    return (successes * log(p) if successes else 0.0) + (failures * log(1 - p) if failures else 0.0)
