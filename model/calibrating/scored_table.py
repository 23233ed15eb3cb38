"""A table of labelled films with their logits, as what a bundle says of them."""

from pathlib import Path

import numpy as np

from model.bundle import Bundle
from model.calibrating.labelled_films import read_table
from model.data.bundle_films import measured_views
from model.stats.site_day import LabelledScores
from model.xray_devices import XrayDevice


def read_scores(bundle: Bundle, path: Path, split: str = "test", device: str = "") -> LabelledScores:
    """Films of predictions.csv of `xrayq evaluate`, or of the table that `xrayq calibrate --labels` takes.

    Args:
        split: where the table has a column of that name, only its films are taken, and those that name none; of views,
            those that the bundle is for.
        device: of the bundle; its films alone, by its calibration. "": films of none.

    Raises:
        DatasetError: not such a table, or no such film in it.
        BundleError: no such device.
    """
    views, bundle = measured_views(bundle), bundle.for_device(device)

    def wanted(row: dict[str, str]) -> bool:
        of_split = (row.get("split") or split) == split and (not views or (row.get("view") or views[0]) in views)
        return of_split and bundle.device_of(XrayDevice.of_row(row)) == device

    films = read_table(bundle, path, wanted, asked="that are asked for")
    chances = bundle.calibration.at_films.probabilities(films.logits)  # as flags and sets are made
    unsure = None
    if bundle.conformal:
        limits = np.array([bundle.conformal.limits[name] for name in bundle.findings])
        unsure = (chances >= limits).sum(axis=1) != 1
    return LabelledScores(
        findings=bundle.findings, chances=chances, labels=films.labels, patients=films.patients, unsure=unsure
    )
