"""What a part of the scored films shows, measured as a whole and in slices."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.calibration import probabilities
from model.decision import OperatingPoint
from model.evaluation.scored import ScoredFilms
from model.findings import FINDINGS, REPORT_MINED
from model.stats.binomial import proportion
from model.stats.curves import curves, roc_curve
from model.stats.reliability import reliability_of
from model.stats.summaries import Weights, bootstrap, ratio, summary


def measure(part: ScoredFilms, bundle: Bundle) -> dict[str, Any]:
    """One part of the films.

    Returns:
        {"films", "patients", "summary": as `metrics.summary` with a bootstrap interval in each proportion, "curves": as
        `curves.curves`, "reliability": {"before" (temperature 1), "after"}: as `reliability.reliability_of`, "flags":
        finding -> {"threshold", "sensitivity", "specificity", "precision"}}
    """
    labels, patients, called = part.labels, part.films.patients, part.called
    found = summary(part.chances, labels, FINDINGS, patients=patients)
    for index, name in enumerate(FINDINGS):
        hit = (called == index) & (labels == index)
        found["recall"][name] |= {"bootstrap95": share_interval(hit, labels == index, patients)}
        found["precision"][name] |= {"bootstrap95": share_interval(hit, called == index, patients)}
    return {
        "films": part.films.counts(),
        "patients": len(set(patients)),
        "summary": found,
        "curves": curves(part.chances, labels, FINDINGS, patients),
        "reliability": {
            "before": reliability_of(probabilities(part.logits, 1.0), labels, patients),
            "after": reliability_of(part.chances, labels, patients),
        },
        "flags": {point.finding: _flag(point, part) for point in bundle.operating_points},
    }


def slices(test: ScoredFilms, test_all: ScoredFilms) -> list[dict[str, Any]]:
    """Test films in groups; views over all of them, sources and labels over the bundle's views."""
    groups: list[tuple[str, str, str, ScoredFilms]] = [
        ("all", "test", "bundle's views", test),
        ("all", "test", "every view", test_all),
    ]
    for view in sorted({film.view for film in test_all.films.records}):
        groups.append(("view", view, "every view", test_all.where(lambda film, view=view: film.view == view)))  # type: ignore[misc]
    for source in sorted({film.source for film in test.films.records}):
        part = test.where(lambda film, source=source: film.source == source)  # type: ignore[misc]
        groups.append(("source", source or "not said", "bundle's views", part))
    for name, mined in (("confirmed", False), ("report-mined", True)):
        part = test.where(lambda film, mined=mined: (film.label_basis in REPORT_MINED) == mined)  # type: ignore[misc]
        groups.append(("label", name, "bundle's views", part))
    return [
        {"group": group, "name": name, "of": of} | slice_of(part) for group, name, of, part in groups if len(part.films)
    ]


def slice_of(part: ScoredFilms) -> dict[str, Any]:
    """{"films", "accuracy", "balanced_accuracy": over the classes that occur, "bootstrap", "recall", "auroc"}"""
    found = summary(part.chances, part.labels, FINDINGS, patients=part.films.patients)
    kept = {name: found[name] for name in ("accuracy", "balanced_accuracy", "bootstrap", "recall")}
    auroc = {
        name: roc_curve(part.chances[:, index], part.labels == index, part.films.patients)["auroc"]
        for index, name in enumerate(FINDINGS)
    }
    return {"films": part.films.counts()} | kept | {"auroc": auroc}


def share_interval(hit: NDArray[np.bool_], among: NDArray[np.bool_], patients: Sequence[str]) -> list[float] | None:
    """Patient-bootstrap interval of the share of `among` that is `hit`; both [N]."""

    def statistic(weights: Weights) -> NDArray[np.float64]:
        return ratio(weights @ (hit & among), weights @ among)

    return bootstrap(statistic, patients)


def _flag(point: OperatingPoint, part: ScoredFilms) -> dict[str, Any]:
    positive = part.labels == FINDINGS.index(point.finding)
    flagged = np.array([point.finding in flags for flags in part.flags])

    def rate(hit: NDArray[np.bool_], among: NDArray[np.bool_]) -> dict[str, Any]:
        found = proportion(int((hit & among).sum()), int(among.sum()))
        return found | {"bootstrap95": share_interval(hit, among, part.films.patients)}

    return {
        "threshold": point.threshold,
        "sensitivity": rate(flagged, positive),
        "specificity": rate(~flagged, ~positive),
        "precision": rate(positive, flagged),
    }
