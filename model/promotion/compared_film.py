"""What two bundles said of one film, and what it is."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FindingScore:
    """What one bundle said of one film about one finding."""

    probability: float
    flag: bool


@dataclass(frozen=True, kw_only=True)
class BundleScore:
    """What one bundle said of one film."""

    findings: dict[str, FindingScore]
    prediction_set: tuple[str, ...] | None = None
    """None of a bundle that makes none: as one that names every finding, it rules nothing out."""

    def holds(self, label: str) -> bool:
        return self.prediction_set is None or label in self.prediction_set

    @property
    def unsure(self) -> bool:
        return self.prediction_set is None or len(self.prediction_set) != 1

    def brier(self, label: str, labels: tuple[str, ...]) -> float:
        """Of the probabilities against a label, halved: 0 where it is sure and right, 1 where it is sure and wrong."""
        return sum((self.findings[name].probability - (name == label)) ** 2 for name in labels) / 2


@dataclass(frozen=True, kw_only=True)
class ComparedFilm:
    """What both said of one film, and what it is."""

    live: BundleScore
    shadow: BundleScore
    truth: str | None
    """A label, None where nobody who read the film said."""
    drawn: bool = False
    """Of the random sample. Without truth, it counts against the shadow where it may."""

    @property
    def open(self) -> bool:
        return self.drawn and self.truth is None
