"""What the page of a film shows of one score."""

from collections.abc import Sequence
from dataclasses import dataclass

from model.findings import SPOKEN, spoken_findings
from model.gate.reasons import REASONS
from worker.db.scores import FindingView, ScoreView
from worker.states import Role

WIDTH = 200
"""Of a bar that shows 0..1, in its own units."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One finding against its operating point, as places on a bar of WIDTH."""

    key: str
    finding: FindingView

    @property
    def name(self) -> str:
        return SPOKEN[self.key]

    @property
    def probability(self) -> float:
        return _place(self.finding.probability)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Begin and length. It is of calibration films that scored alike, and need not hold the probability."""
        if self.finding.interval is None:
            return None
        low, high = self.finding.interval
        return _place(low), _place(high - low)

    @property
    def point(self) -> float | None:
        return None if self.finding.operating_point is None else _place(self.finding.operating_point)

    @property
    def in_words(self) -> str:
        """For whoever does not see the bar."""
        said = f"{self.finding.probability:.3f}"
        if self.finding.interval:
            said += f"; of films like it {self.finding.interval[0]:.0%} to {self.finding.interval[1]:.0%}"
        if self.finding.operating_point is not None:
            side = "flag" if self.finding.flag else "below the operating point"
            said += f"; {side} {self.finding.operating_point:.3f}"
        return said


@dataclass(frozen=True, kw_only=True)
class ShownScore:
    score: ScoreView
    shadow: bool
    bars: tuple[Bar, ...]
    set_in_words: str
    """"" where the bundle makes no prediction sets."""
    notes: tuple[str, ...]
    """Of the gate, in words: it was scored in spite of them."""


def shown(score: ScoreView) -> ShownScore:
    return ShownScore(
        score=score,
        shadow=score.role is Role.SHADOW,
        bars=tuple(Bar(key=name, finding=finding) for name, finding in score.findings.items()),
        set_in_words=_in_words(score.prediction_set),
        notes=tuple(REASONS.get(note, note) for note in score.notes),
    )


def _in_words(prediction_set: Sequence[str] | None) -> str:
    """A set is meant to hold the finding of a film as often as its bundle says; it rules nothing out."""
    if prediction_set is None:
        return ""
    if not prediction_set:
        return "None: the film is unlike those that the bundle was calibrated on. Unsure."
    if len(prediction_set) == 1:
        return f"{spoken_findings(prediction_set)} alone."
    return f"One of {spoken_findings(prediction_set)}: it cannot tell them apart here. Unsure."


def _place(share: float) -> float:
    return round(share * WIDTH, 1)
