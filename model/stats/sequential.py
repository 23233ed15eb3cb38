"""Is a rate still where it was calibrated? A test that may be looked at after every film.

A plain interval, looked at each night, leaves the truth sooner or later by chance. Here evidence is a wager against the
calibrated interval: a mixture of all rates (Jeffreys' prior) over the rate inside the interval that explains the
outcomes best. While the true rate is inside, it ever reaches 1 / alpha with a chance of at most alpha, however often
one looks (Ville's inequality; Robbins 1970, "Statistical methods related to the law of the iterated logarithm").

Outcomes stand in an order that was fixed before anyone saw a film, that of the draws. A film that nobody read, or whose
readers disagree, keeps its place: it counts as whatever would speak most for the calibrated interval. So the wager is
never larger than it would be with every film read, and the chance holds whichever films are left out, hard or easy.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, exp, lgamma, log
from typing import Any, NamedTuple

from model.errors import StatisticsError
from model.stats.binomial import interval
from model.stats.usable import shares

ALPHA = 0.05


class Outcome(NamedTuple):
    """One film: whether the flag was right."""

    right: bool
    known: bool = True
    """False where the film has no truth: it may belong to this rate or not, and if it does, then with this outcome."""


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
    outcomes: Sequence[Outcome], calibrated: tuple[float, float] | None = None, *, alpha: float = ALPHA
) -> RateWatch:
    """Follow outcomes in their order.

    Args:
        outcomes: one for each film that is of the rate's kind, or may be.
        calibrated: (low, high) of the rate, 0..1.
        alpha: chance of a false alarm, over all time.

    Raises:
        StatisticsError: `calibrated` is not 0 <= low <= high <= 1, or `alpha` not over 0 and at most 1.
    """
    shares([alpha, *(calibrated or ())], "rate")
    if alpha == 0:
        raise StatisticsError("an alarm that may never be false is never raised: alpha is over 0")
    if calibrated and calibrated[0] > calibrated[1]:
        raise StatisticsError(f"the calibrated interval ends below its beginning: {calibrated}")
    successes, trials, largest, alarm = 0, 0, 0.0, None
    may_be = {True: 0, False: 0}
    for outcome in outcomes:
        if not outcome.known:
            may_be[outcome.right] += 1
            continue
        successes, trials = successes + outcome.right, trials + 1
        if calibrated is not None:
            evidence = _least_evidence(successes, trials, calibrated, right=may_be[True], wrong=may_be[False])
            largest = max(largest, evidence)
            if alarm is None and largest >= -log(alpha):
                alarm = trials
    return RateWatch(
        successes=successes,
        trials=trials,
        interval95=interval(successes, trials),
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


def _least_evidence(successes: int, trials: int, calibrated: tuple[float, float], *, right: int, wrong: int) -> float:
    """The least that the wager can be, whatever the films without truth are.

    Args:
        right, wrong: films that may be of the rate's kind, by what they are then.
    """
    low, high = calibrated
    if successes < low * trials:
        return _least_with_more(successes, trials, calibrated, right)
    if successes > high * trials:
        return _least_with_more(trials - successes, trials, (1 - high, 1 - low), wrong)
    return log_evidence(successes, trials, calibrated)


def _least_with_more(successes: int, trials: int, calibrated: tuple[float, float], most: int) -> float:
    """The least wager with up to `most` more successes, of a rate below the interval.

    One more success multiplies the wager by (successes + 1/2) / (trials + 1) / low, which grows with each: the least is
    where it passes 1.
    """
    low = calibrated[0]
    turn = most if low >= 1 else ceil((low * (trials + 1) - successes - 0.5) / (1 - low))
    more = min(max(turn, 0), most)
    return min(log_evidence(successes + added, trials + added, calibrated) for added in {max(more - 1, 0), more})


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _log_likelihood(successes: int, failures: int, p: float) -> float:
    if (successes and p <= 0) or (failures and p >= 1):
        return float("-inf")
    return (successes * log(p) if successes else 0.0) + (failures * log(1 - p) if failures else 0.0)
