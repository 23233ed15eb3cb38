"""The live bundle against its labels: rates with intervals, and whether stated probabilities come true.

Probabilities are held against the random sample alone, as rates are: chosen films have the finding more or less often.
"""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, select

from model.bundle import Bundle
from model.errors import BundleError
from model.json_value import SparseJson, plain
from model.stats.binomial import interval
from worker.bundles.roles import by_settings, in_service, open_bundle
from worker.db.scores import IS_LIVE
from worker.db.session import snapshot
from worker.db.tables import finding_score, score
from worker.monitoring.label_sample import order_of_draws
from worker.monitoring.labels import truths
from worker.monitoring.live_rates import Performance
from worker.monitoring.performance import performance_of

CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class StatedProbability(SparseJson):
    """What the probabilities of a finding say over the labelled films of the sample, and what the readers say."""

    finding: str
    films: int
    """Whose probability is a finite number, as a stored one should be."""
    expected: float
    """Films that should have it: the sum of the probabilities."""
    observed: int
    """Films that have it."""
    interval95: tuple[float, float]
    """Exact, of the observed share."""
    holds: bool | None
    """Whether the expected share lies in it; None, and not in the JSON, without films."""
    no_number: int | None = None
    """Films left out, whose probability is not finite; None, and not in the JSON, where there are none."""


@dataclass(frozen=True, kw_only=True)
class LivePerformance:
    """A bundle's live scores against readers' labels."""

    rates: Performance
    name: str
    version: str
    """Version of the bundle."""
    calibration: tuple[StatedProbability, ...]
    """One for each finding."""

    def as_dict(self) -> dict[str, Any]:
        about = {"name": self.name, "version": self.version, "calibration": plain(self.calibration)}
        return self.rates.as_dict() | about


@dataclass(frozen=True, kw_only=True)
class AgainstLabels:
    performance: LivePerformance | None
    missing: str = ""
    """Why there is none."""


def against_labels(engine: Engine, default: Path | None) -> AgainstLabels:
    """The live bundle over all its labels.

    Args:
        default: the bundle that is live while none is activated; None: the shipped reference.
    """
    with snapshot(engine) as connection:
        live, _ = in_service(connection)
    try:
        bundle = open_bundle(live or by_settings(default))
    except BundleError:
        return _missing("The live bundle cannot be opened on the machine that made this report.")
    with snapshot(engine) as connection:
        rates, stated = performance_of(connection, bundle), calibration(connection, bundle)
    if not rates.known:
        return _missing(
            "No film that the live bundle scored has a label: 'xrayq labels sample' draws films for readers, "
            "'xrayq labels import' takes what they say."
        )
    return AgainstLabels(
        performance=LivePerformance(rates=rates, name=bundle.name, version=bundle.version, calibration=stated)
    )


def calibration(connection: Connection, bundle: Bundle) -> tuple[StatedProbability, ...]:
    """For each finding over the labelled films of the sample: how many should have it by the probabilities, and how
    many have it."""
    known = truths(connection)
    labels = {key: known[key].label for key in order_of_draws(connection) if key in known}
    keys = sorted(key for key, label in labels.items() if label is not None)
    stated: dict[str, list[float]] = {name: [] for name in bundle.findings}
    observed, no_number = dict.fromkeys(bundle.findings, 0), dict.fromkeys(bundle.findings, 0)
    for at in range(0, len(keys), CHUNK):
        rows = connection.execute(
            select(score.c.instance_id, finding_score.c.finding, finding_score.c.probability)
            .join(finding_score, finding_score.c.score_id == score.c.id)
            .where(
                score.c.instance_id.in_(keys[at : at + CHUNK]),
                score.c.bundle_digest == bundle.digest,
                IS_LIVE,
                finding_score.c.finding.in_(bundle.findings),
            )
        )
        for key, finding, probability in rows:
            if isfinite(probability):
                stated[finding].append(probability)
                observed[finding] += labels[key] == finding
            else:
                no_number[finding] += 1
    return tuple(
        _held(name, stated[name], observed[name], no_number[name])
        for name in bundle.findings
        if stated[name] or no_number[name]
    )


def _missing(reason: str) -> AgainstLabels:
    return AgainstLabels(performance=None, missing=reason)


def _held(finding: str, stated: list[float], observed: int, no_number: int) -> StatedProbability:
    expected, films = float(np.sum(stated)), len(stated)
    low, high = interval(observed, films)
    return StatedProbability(
        finding=finding,
        films=films,
        expected=round(expected, 1),
        observed=observed,
        interval95=(round(low, 4), round(high, 4)),
        holds=low <= expected / films <= high if films else None,
        no_number=no_number or None,
    )
