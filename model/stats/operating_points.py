"""What the flags of an operating point do on films, and what a flag then means at a stated prevalence."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from model.calibration import Calibration, Logits, log_losses
from model.decision import SENSITIVITY, OperatingPoint, chance_of, truth_of
from model.findings import negative_of
from model.json_value import JsonValue
from model.stats.binomial import proportion
from model.stats.estimate import Estimate, Interval, Proportion
from model.stats.summaries import Summary, summary
from model.stats.usable import finite, some_films

CONFIDENCE = 0.95
"""With which a target is promised, one-sided."""
PREVALENCES = (0.01, 0.05, 0.2)
"""That predictive values are shown at."""


@dataclass(frozen=True, kw_only=True)
class Rates(JsonValue):
    """What the flags of one operating point do on films."""

    sensitivity: Proportion
    specificity: Proportion

    def rate(self, name: str) -> Proportion:
        """By SENSITIVITY or SPECIFICITY."""
        return self.sensitivity if name == SENSITIVITY else self.specificity


@dataclass(frozen=True, kw_only=True)
class FlagMeasures(Rates):
    negatives_flagged: Proportion
    """Films of the negative finding that are flagged; not among all films without the flag's finding."""


@dataclass(frozen=True, kw_only=True)
class PredictiveValues(JsonValue):
    """What a flag, or none, means where a finding has a stated prevalence."""

    ppv: Estimate
    """Share of the flagged films that have the finding."""
    npv: Estimate
    """Share of the others that do not."""


@dataclass(frozen=True, kw_only=True)
class BundleMetrics(Summary):
    """What a bundle's manifest says of one split."""

    log_loss: float
    """Nats."""
    flags: dict[str, FlagMeasures]
    """By finding with an operating point."""


def fewest_patients(target: float) -> int:
    """With as many, a threshold that does right by all of them keeps the target with 95 % confidence: 29 for .90."""
    return ceil(log(1 - CONFIDENCE) / log(target) - 1e-9)


def rates(point: OperatingPoint, scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> Rates:
    """Of an operating point on films; probabilities of its finding [N], truth [N]."""
    return flag_rates(scores >= point.threshold, positive)


def flag_rates(flagged: NDArray[np.bool_], positive: NDArray[np.bool_], patients: Sequence[str] | None = None) -> Rates:
    """The same of flags [N], with the number of patients where they are known [N] and fewer."""
    return Rates(
        sensitivity=_share(flagged, positive, patients),
        specificity=_share(~flagged, ~positive, patients),
    )


def flag_measures(
    finding: str,
    flagged: NDArray[np.bool_],
    labels: NDArray[np.int64],
    findings: tuple[str, ...],
    patients: Sequence[str] | None = None,
) -> FlagMeasures:
    """The same with the films of the negative finding; flags of `finding` [N], labels [N]."""
    negative = truth_of(negative_of(findings), labels, findings)
    return FlagMeasures(
        **vars(flag_rates(flagged, truth_of(finding, labels, findings), patients)),
        negatives_flagged=_share(flagged, negative, patients),
    )


def _share(hit: NDArray[np.bool_], among: NDArray[np.bool_], patients: Sequence[str] | None) -> Proportion:
    """Of the films `among`; both [N]."""
    exact = proportion(int((hit & among).sum()), int(among.sum()))
    people = len(np.unique(np.asarray(patients)[among])) if patients is not None else exact.n
    return replace(exact, patients=people) if people < exact.n else exact


def predictive_values(rates: Rates, prevalence: float) -> PredictiveValues:
    """Of flags with these rates, by Bayes' rule, where `prevalence` (0..1) of the films have the finding.

    The odds are those of the prevalence times a likelihood ratio, sensitivity / (1 - specificity) or specificity /
    (1 - sensitivity). The 95 % interval of the ratio comes from the exact intervals of its two rates (MOVER-R, Newcombe
    2016, Stat Methods Med Res 25:1774); it stays defined where a rate is 0 or 1, and the prevalence is taken as known.
    A simulation in the tests shows that it covers.

    Returns:
        None as value and interval where a rate is of no film, or where no film is flagged (ppv) or all are (npv).

    Raises:
        ValueError: a prevalence outside 0..1.
    """
    if not 0 <= prevalence <= 1:
        raise ValueError(f"prevalence {prevalence} is not between 0 and 1")
    return PredictiveValues(
        ppv=_share_of_odds(rates.sensitivity, _rest(rates.specificity), prevalence),
        npv=_share_of_odds(rates.specificity, _rest(rates.sensitivity), 1 - prevalence),
    )


def _rest(rate: Proportion) -> Proportion:
    """1 - rate."""
    low, high = rate.interval95
    return Proportion(value=None if rate.value is None else 1 - rate.value, interval95=(1 - high, 1 - low), n=rate.n)


def _share_of_odds(above: Proportion, below: Proportion, share: float) -> Estimate:
    """share x above / (share x above + (1 - share) x below), with its interval."""
    if above.value is None or below.value is None or above.value == below.value == 0:
        return Estimate(value=None, interval95=None)

    def of(ratio: float) -> float:
        if ratio == inf:
            return 1.0 if share else 0.0
        return round(share * ratio / (share * ratio + 1 - share) if share * ratio else 0.0, 4)

    value = inf if below.value == 0 else above.value / below.value
    low, high = _ratio_interval(above.value, above.interval95, below.value, below.interval95)
    return Estimate(value=of(value), interval95=(of(low), of(high)))


def _ratio_interval(above: float, above95: Interval, below: float, below95: Interval) -> Interval:
    """MOVER-R interval of above / below, written so that nothing is divided by a difference; may end at infinity."""

    def least(top: float, top_low: float, bottom: float, bottom_high: float) -> float:
        gain, loss = top_low * (2 * top - top_low), bottom_high * (2 * bottom - bottom_high)
        root = sqrt(max(0.0, (top * bottom) ** 2 - gain * loss))
        return gain / (top * bottom + root) if gain else 0.0

    inverse = least(below, below95[0], above, above95[1])
    return least(above, above95[0], below, below95[1]), 1 / inverse if inverse else inf


def bundle_metrics(
    calibration: Calibration,
    logits: Logits,
    labels: NDArray[np.int64],
    findings: tuple[str, ...],
    points: tuple[OperatingPoint, ...],
    patients: Sequence[str] | None = None,
) -> BundleMetrics:
    """Logits [N, findings], labels [N], patients [N] where known. Before a prior shift, as the films are mixed; it
    changes no flag.

    Raises:
        StatisticsError: without films, or a logit is not finite.
    """
    some_films(len(labels))
    finite(logits, "scores")
    chances = calibration.at_films.probabilities(logits)
    return BundleMetrics(
        **vars(summary(chances, labels, findings)),
        log_loss=round(float(log_losses(chances, labels).mean()), 4),
        flags={
            point.finding: flag_measures(
                point.finding,
                chance_of(point.finding, chances, findings) >= point.threshold,
                labels,
                findings,
                patients,
            )
            for point in points
        },
    )
