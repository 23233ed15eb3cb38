"""Live scores against truth: rates with intervals, and an alarm when one leaves where it was calibrated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from model.bundle import Bundle
from model.decision import OperatingPoint, has
from model.findings import negative_of
from model.stats.binomial import interval
from model.stats.sequential import ALPHA, RateWatch, watch
from worker.db.scores import IS_LIVE, live_findings
from worker.db.session import snapshot
from worker.db.tables import finding_score, instance, score
from worker.monitoring.labels import truths

CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class LabelledScore:
    """A film that has a score and a truth."""

    instance_id: int
    truth: str
    flags: frozenset[str]
    place: int
    """In the order in which films were first labelled."""


@dataclass(frozen=True, kw_only=True)
class FindingRates:
    finding: str
    sensitivity: RateWatch
    specificity: RateWatch
    ppv: RateWatch
    """Positive predictive value. It moves with how common the finding is, so it has no calibrated interval."""

    @property
    def alarm(self) -> bool:
        return self.sensitivity.alarm_at is not None or self.specificity.alarm_at is not None

    def as_dict(self) -> dict[str, Any]:
        rates = {"sensitivity": self.sensitivity, "specificity": self.specificity, "ppv": self.ppv}
        return {"finding": self.finding, "alarm": self.alarm} | {name: rate.as_dict() for name, rate in rates.items()}


@dataclass(frozen=True, kw_only=True)
class Performance:
    """How one bundle's live scores stand to the truth."""

    bundle_digest: str
    scored: int
    flagged: int
    """Scored films with any flag."""
    labelled: int
    labelled_flagged: int
    disputed: int
    """Labelled films whose readers do not agree: left out."""
    findings: tuple[FindingRates, ...]

    @property
    def selected(self) -> bool:
        """Whether flagged films were labelled rather than the others: sensitivity then looks better than it is."""
        plain, labelled_plain = self.scored - self.flagged, self.labelled - self.labelled_flagged
        if not self.flagged or not plain:
            return False
        return labelled_plain / plain < self.labelled_flagged / self.flagged / 2

    def as_dict(self) -> dict[str, Any]:
        names = ("bundle_digest", "scored", "flagged", "labelled", "labelled_flagged", "disputed", "selected")
        return {name: getattr(self, name) for name in names} | {
            "findings": [rates.as_dict() for rates in self.findings]
        }


def performance(engine: Engine, bundle: Bundle) -> Performance:
    """Compare every live score of a bundle with its film's truth, in the order in which labels came."""
    with snapshot(engine) as connection:
        scored, flagged = _counts(connection, bundle.digest)
        labels = truths(connection)
        flags = _flags(connection, bundle.digest, sorted(labels))
    disputed = sum(labels[key].label is None for key in flags)
    labelled = [
        LabelledScore(instance_id=key, truth=film.label, flags=flags[key], place=film.place)
        for key, film in labels.items()
        if key in flags and film.label is not None
    ]
    alpha = ALPHA / max(1, 2 * len(bundle.operating_points))  # a sensitivity and a specificity each
    labelled.sort(key=lambda film: (film.place, film.instance_id))
    return Performance(
        bundle_digest=bundle.digest,
        scored=scored,
        flagged=flagged,
        labelled=len(labelled),
        labelled_flagged=sum(bool(film.flags) for film in labelled),
        disputed=disputed,
        findings=tuple(
            _rates(point, labelled, alpha, negative_of(bundle.findings)) for point in bundle.operating_points
        ),
    )


def _rates(point: OperatingPoint, labelled: Sequence[LabelledScore], alpha: float, negative: str) -> FindingRates:
    name = point.finding
    with_it = [name in film.flags for film in labelled if has(name, film.truth, negative)]
    without = [name not in film.flags for film in labelled if not has(name, film.truth, negative)]
    right = [has(name, film.truth, negative) for film in labelled if name in film.flags]
    return FindingRates(
        finding=name,
        sensitivity=watch(with_it, interval(round(point.sensitivity * point.positives), point.positives), alpha=alpha),
        specificity=watch(without, interval(round(point.specificity * point.negatives), point.negatives), alpha=alpha),
        ppv=watch(right),
    )


def _counts(connection: Connection, digest: str) -> tuple[int, int]:
    """Live scores of the bundle, and those with any flag."""
    of_bundle = (score.c.bundle_digest == digest) & IS_LIVE
    scored = connection.execute(select(func.count()).select_from(score).where(of_bundle)).scalar_one()
    flagged = connection.execute(
        select(func.count(func.distinct(score.c.id)))
        .join(finding_score, finding_score.c.score_id == score.c.id)
        .where(of_bundle, finding_score.c.flag)
    ).scalar_one()
    return int(scored), int(flagged)


def _flags(connection: Connection, digest: str, instances: list[int]) -> dict[int, frozenset[str]]:
    """The flags of those instances that the bundle scored live."""
    flags: dict[int, set[str]] = {}
    for at in range(0, len(instances), CHUNK):
        rows = connection.execute(
            live_findings(instance.c.id, finding_score.c.finding, finding_score.c.flag).where(
                instance.c.id.in_(instances[at : at + CHUNK]), score.c.bundle_digest == digest
            )
        )
        for row in rows:
            flags.setdefault(row.id, set()).update({row.finding} if row.flag else ())
    return {key: frozenset(names) for key, names in flags.items()}
