"""Probabilities to flags: a film is flagged when a probability reaches its operating point.

An operating point belongs to a finding, or to NOT_NORMAL: any finding but the negative one, with the probability
1 - p(negative). That is a flag and no class: it is in no sum to 1, no prediction set and no label.
"""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.findings import NOT_NORMAL, negative_of
from model.manifest_values import (
    Rule,
    block,
    count,
    flag,
    interval,
    label,
    maybe,
    number,
    read_by,
    sequence,
    share,
    text,
)

SENSITIVITY, SPECIFICITY = "sensitivity", "specificity"
HIGHEST = 1.000001
"""Of a threshold: one step of its digits over 1, where a film without the finding has probability 1."""


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A threshold, with what was measured where it was chosen. Lives in the bundle; settings never hold a threshold."""

    finding: str
    """Of the bundle, or NOT_NORMAL."""
    threshold: float
    """Smallest probability that is flagged, 0..1."""
    sensitivity: float
    specificity: float
    positives: int
    negatives: int
    chosen_on: str
    """The split, the rule, and for a specificity the films that it is of."""
    id: str = ""
    """Finding, rate and value: covid19@sensitivity-0.95; "" in bundles of schema 1, as the next four are absent."""
    target: str = ""
    """The rate that it was chosen for: sensitivity or specificity."""
    target_value: float | None = None
    """What that rate was to be at least, 0..1."""
    sensitivity_interval95: tuple[float, float] | None = None
    """Clopper-Pearson, as the next."""
    specificity_interval95: tuple[float, float] | None = None
    bound: float | None = None
    """With 95 % confidence the rate is at least this, on films like those; None, and not in the JSON, in a bundle that
    promises no bound, as the next two."""
    met: bool | None = None
    """Whether that is the target or more."""
    patients: int | None = None
    """That the bound rests on: those with a film that the rate is a share of."""
    flagged_by_label: dict[str, tuple[int, int]] | None = None
    """Of the films it was chosen on, by label: how many are flagged, and how many there are. None in bundles that do
    not say. Live rates are held against it label by label, so that a site's mix of films makes no difference."""

    @classmethod
    def read(cls, found: object) -> "OperatingPoint":
        """From a manifest. Raises TypeError or ValueError."""
        return cls(**read_by(_RULES, found, "operating point"))

    def flagged_of(self, label: str, negative: str) -> tuple[int, int] | None:
        """Of the films with this label that it was chosen on: how many are flagged, and how many there are.

        None where the bundle does not say. One that does not say it by label says it for a label that stands alone on
        its side: the finding itself, and the negative one against NOT_NORMAL.
        """
        if self.flagged_by_label is not None:
            return self.flagged_by_label.get(label)
        if label == self.finding:
            return round(self.sensitivity * self.positives), self.positives
        if self.finding == NOT_NORMAL and label == negative:
            return self.negatives - round(self.specificity * self.negatives), self.negatives
        return None

    def as_dict(self) -> dict[str, Any]:
        absent = {name for name in ("bound", "met", "patients", "flagged_by_label") if getattr(self, name) is None}
        return {name: value for name, value in asdict(self).items() if name not in absent}


def read_points(found: object, findings: tuple[str, ...]) -> tuple[OperatingPoint, ...]:
    """From a manifest: at most one for each finding and NOT_NORMAL. Raises TypeError or ValueError."""
    points = tuple(map(OperatingPoint.read, sequence(found, "operating_points")))
    names = [point.finding for point in points]
    if unknown := set(names) - {*findings, NOT_NORMAL}:
        raise ValueError(f"operating points for {', '.join(sorted(unknown))}, not findings")
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"more than one operating point for {', '.join(sorted(twice))}")
    return points


def flags(probabilities: dict[str, float], points: tuple[OperatingPoint, ...]) -> tuple[str, ...]:
    """Findings, NOT_NORMAL among them, whose probability reaches their operating point, in the order of the points.

    Args:
        probabilities: of the bundle's findings, in its order.
    """
    stated = probabilities | {NOT_NORMAL: 1 - probabilities[negative_of(probabilities)]}
    return tuple(point.finding for point in points if stated[point.finding] >= point.threshold)


def has(finding: str, label: str, negative: str) -> bool:
    """Whether a film with this label has a finding, NOT_NORMAL included."""
    return label != negative if finding == NOT_NORMAL else label == finding


def chance_of(finding: str, chances: NDArray[np.float64], findings: tuple[str, ...]) -> NDArray[np.float64]:
    """[N] probability of a finding, NOT_NORMAL included; probabilities [N, findings]."""
    if finding == NOT_NORMAL:
        return 1 - chances[:, findings.index(negative_of(findings))]
    return chances[:, findings.index(finding)]


def truth_of(finding: str, labels: NDArray[np.int64], findings: tuple[str, ...]) -> NDArray[np.bool_]:
    """[N] whether each film has a finding, NOT_NORMAL included; labels [N], indexes of findings."""
    if finding == NOT_NORMAL:
        return np.asarray(labels != findings.index(negative_of(findings)))
    return np.asarray(labels == findings.index(finding))


def composite_logit(logits: dict[str, float]) -> float:
    """Of NOT_NORMAL: the log odds of any other finding against the negative one, before calibration.

    Args:
        logits: of the bundle's findings, in its order.
    """
    negative = negative_of(logits)
    others = np.array([value for name, value in logits.items() if name != negative], np.float64)
    return float(np.logaddexp.reduce(others)) - logits[negative]


def _target(value: object, name: str) -> str:
    if value not in ("", SENSITIVITY, SPECIFICITY):
        raise ValueError(f"{name} must be {SENSITIVITY} or {SPECIFICITY}, not {value!r}")
    return str(value)


def _flagged_by_label(value: object, name: str) -> dict[str, tuple[int, int]]:
    found = {}
    for key, pair in block(value, name).items():
        flagged, films = (count(number, f"{name} of {key}") for number in sequence(pair, f"{name} of {key}"))
        if flagged > films:
            raise ValueError(f"{name}: {flagged} of {films} films with {key} cannot be flagged")
        found[key] = flagged, films
    return found


_RULES: dict[str, Rule] = {
    "finding": label,
    "threshold": partial(number, low=0, high=HIGHEST),
    "sensitivity": share,
    "specificity": share,
    "positives": count,
    "negatives": count,
    "chosen_on": text,
    "id": partial(text, most=64),
    "target": _target,
    "target_value": maybe(share),
    "sensitivity_interval95": maybe(interval),
    "specificity_interval95": maybe(interval),
    "bound": maybe(share),
    "met": maybe(flag),
    "patients": maybe(count),
    "flagged_by_label": maybe(_flagged_by_label),
}
