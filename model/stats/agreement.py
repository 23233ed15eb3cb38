"""Does a faster variant say the same as the reference? Measured on labelled films, against stated limits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from model.bundle import Bundle
from model.decision import flags
from model.json_value import ReadableJson
from model.stats.usable import as_many, finite, some_films

AUROC_TOLERANCE = 0.005


@dataclass(frozen=True, kw_only=True)
class Agreement(ReadableJson):
    """A variant beside the reference on the same films. Pairs are (reference, variant)."""

    films: int
    largest_difference: float
    """Largest difference of a probability, 0..1."""
    mean_difference: float
    """Absolute, over films and findings."""
    films_with_other_flags: int
    share_with_other_flags: float
    auroc: dict[str, tuple[float, float]]
    """By finding, against all other films. Findings with no film, or only such, are left out."""
    accuracy: tuple[float, float]

    def faults(self, *, flag_tolerance: float, auroc_tolerance: float = AUROC_TOLERANCE) -> list[str]:
        """What is beyond the limits, in words; empty when the variant may serve.

        Args:
            flag_tolerance: largest share of films with other flags.
            auroc_tolerance: largest loss of AUROC of a finding.
        """
        found = []
        if self.share_with_other_flags > flag_tolerance:
            changed = f"{self.films_with_other_flags} of {self.films} films"
            found.append(f"flags change on {changed}, more than {flag_tolerance:.2%}")
        for finding, (before, after) in self.auroc.items():
            if round(before - after, 4) > auroc_tolerance:
                found.append(
                    f"AUROC of {finding} falls from {before:.4f} to {after:.4f}, by more than {auroc_tolerance}"
                )
        return found


def compare(
    bundle: Bundle, reference: NDArray[np.float32], variant: NDArray[np.float32], labels: NDArray[np.int64]
) -> Agreement:
    """Logits [N, findings] of both on the same N >= 1 films, labels [N] as indexes of the bundle's findings.

    Raises:
        StatisticsError: there are no films, not as many of each, or a logit is not finite.
    """
    some_films(len(labels))
    as_many(len(labels), **{"scores of the reference": reference, "scores of the variant": variant})
    for logits in (reference, variant):
        finite(logits, "scores")
    before, after = (bundle.calibration.at_films.probabilities(logits) for logits in (reference, variant))
    changed = sum(old != new for old, new in zip(_flags(bundle, before), _flags(bundle, after), strict=True))
    difference = np.abs(before - after)
    areas = {
        finding: (auroc(before[:, index], labels == index), auroc(after[:, index], labels == index))
        for index, finding in enumerate(bundle.findings)
        if 0 < (labels == index).sum() < len(labels)
    }
    return Agreement(
        films=len(labels),
        largest_difference=round(float(difference.max()), 4),
        mean_difference=round(float(difference.mean()), 5),
        films_with_other_flags=changed,
        share_with_other_flags=round(changed / len(labels), 4),
        auroc=areas,
        accuracy=(_accuracy(before, labels), _accuracy(after, labels)),
    )


def auroc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Chance that a positive film scores higher than a negative one, ties counted half. Four digits."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    above = rankdata(scores)[positive].sum() - positives * (positives + 1) / 2
    return round(float(above / (positives * negatives)), 4)


def _flags(bundle: Bundle, chances: NDArray[np.float64]) -> list[tuple[str, ...]]:
    return [flags(dict(zip(bundle.findings, row, strict=True)), bundle.operating_points) for row in chances]


def _accuracy(chances: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    return round(float((chances.argmax(axis=1) == labels).mean()), 4)
