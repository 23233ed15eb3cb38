"""A table of labelled films with their logits, as what a bundle says of them."""

from pathlib import Path

import numpy as np

from model.bundle import Bundle
from model.calibrating.labelled_films import read_table
from model.data.bundle_films import measured_views
from model.stats.site_day import LabelledScores


def read_scores(bundle: Bundle, path: Path, split: str = "test") -> LabelledScores:
    """Films of predictions.csv of `xrayq evaluate`, or of the table that `xrayq calibrate --labels` takes.

    Args:
        split: where the table has a column of that name, only its films are taken, and those that name none; of views,
            those that the bundle is for.

    Raises:
        DatasetError: not such a table, or no such film in it.
    """
    views = measured_views(bundle)

    def wanted(row: dict[str, str]) -> bool:
        return (row.get("split") or split) == split and (not views or (row.get("view") or views[0]) in views)

    films = read_table(bundle, path, wanted)
    chances = bundle.calibration.at_films.probabilities(films.logits)  # as flags and sets are made
    unsure = None
    if bundle.conformal:
        limits = np.array([bundle.conformal.limits[name] for name in bundle.findings])
        unsure = (chances >= limits).sum(axis=1) != 1
    return LabelledScores(
        findings=bundle.findings, chances=chances, labels=films.labels, patients=films.patients, unsure=unsure
    )
