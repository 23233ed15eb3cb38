"""The live bundle against its labels: rates with intervals, and whether stated probabilities come true."""

from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, select

from model.bundle import Bundle
from model.errors import BundleError
from model.stats.binomial import interval
from worker.bundles.roles import by_settings, in_service, open_bundle
from worker.db.scores import IS_LIVE
from worker.db.session import snapshot
from worker.db.tables import finding_score, score
from worker.monitoring.labels import truths
from worker.monitoring.performance import performance

CHUNK = 500


def against_labels(engine: Engine, default: Path | None) -> dict[str, Any]:
    """The live bundle over all its labels.

    Keys: performance (`performance.Performance.as_dict` with "name" and "version" of the bundle and "calibration", one
    entry for each finding; None where there is none) and performance_missing (why there is none, else "").

    Args:
        default: the bundle that is live while none is activated; None: the shipped reference.
    """
    with snapshot(engine) as connection:
        live, _ = in_service(connection)
    try:
        bundle = open_bundle(live or by_settings(default))
    except BundleError:
        return _missing("The live bundle cannot be opened on the machine that made this report.")
    found = performance(engine, bundle)
    if not found.labelled:
        return _missing(
            "No film that the live bundle scored has a label; 'xrayq labels import' takes what readers say."
        )
    with snapshot(engine) as connection:
        stated = calibration(connection, bundle)
    named = {"name": bundle.name, "version": bundle.version, "calibration": stated}
    return {"performance": found.as_dict() | named, "performance_missing": ""}


def calibration(connection: Connection, bundle: Bundle) -> list[dict[str, Any]]:
    """For each finding over the labelled films: how many should have it by the probabilities, and how many have it.

    Keys: finding, films, expected (sum of probabilities), observed, interval95 (exact, of the observed share), holds
    (whether the expected share lies in it).
    """
    labels = {key: label for key, (label, _) in truths(connection).items() if label is not None}
    keys = sorted(labels)
    stated: dict[str, list[float]] = {name: [] for name in bundle.findings}
    observed = dict.fromkeys(bundle.findings, 0)
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
            stated[finding].append(probability)
            observed[finding] += labels[key] == finding
    return [_held(name, stated[name], observed[name]) for name in bundle.findings if stated[name]]


def _missing(reason: str) -> dict[str, Any]:
    return {"performance": None, "performance_missing": reason}


def _held(finding: str, stated: list[float], observed: int) -> dict[str, Any]:
    expected, films = float(np.sum(stated)), len(stated)
    low, high = interval(observed, films)
    return {
        "finding": finding,
        "films": films,
        "expected": round(expected, 1),
        "observed": observed,
        "interval95": [round(low, 4), round(high, 4)],
        "holds": low <= expected / films <= high,
    }
