"""Trained networks as teachers: what they say of films becomes a part of the target (Hinton et al. 2015)."""

from collections.abc import Sequence

import numpy as np
import torch

from model.bundle import Bundle
from model.data.bundle_films import logits_of
from model.data.dataset import Dataset
from model.engine.ort import OrtEngine
from model.errors import DatasetError
from model.training.material import Shares


def probabilities_of(bundles: Sequence[Bundle], dataset: Dataset) -> Shares:
    """Mean of the bundles' calibrated probabilities of the training films as they are, [films, findings].

    Raises:
        DatasetError: a bundle has other findings, or takes films prepared otherwise.
    """
    total: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = []
    for bundle in bundles:
        if bundle.findings != dataset.findings:
            raise DatasetError(f"teacher {bundle.name} finds {', '.join(bundle.findings)}: not what the films show")
        if bundle.preprocess != dataset.spec:
            raise DatasetError(f"teacher {bundle.name} takes films prepared otherwise")
        engine = OrtEngine(bundle, threads=torch.get_num_threads())
        total.append(bundle.calibration.probabilities(logits_of(engine, dataset.splits["train"])))
        engine.close()
    return np.asarray(np.mean(total, axis=0), np.float32)
