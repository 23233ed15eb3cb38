"""Bundles as teachers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'xrayq[train]'")
pytest.importorskip("onnx")

from model.engine.ort import OrtEngine
from model.errors import DatasetError
from model.training.teacher import probabilities_of
from tests.unit.model.films import dataset_for, rows_for
from tests.unit.model.tiny import SIZE, tiny_bundle


def test_teachers_are_averaged_in_the_order_of_the_films(tmp_path: Path) -> None:
    dataset = dataset_for(tmp_path, rows_for({"train": 2, "val": 1}), size=SIZE)
    bundles = [tiny_bundle(tmp_path / str(seed), seed) for seed in (1, 2)]
    bundles = [replace(bundle, preprocess=dataset.spec) for bundle in bundles]
    images = dataset.splits["train"].images
    each = [bundle.calibration.probabilities(OrtEngine(bundle, threads=1).infer(images)) for bundle in bundles]
    found = probabilities_of(bundles, dataset)
    assert found.dtype == np.float32
    assert np.allclose(found, np.mean(each, axis=0), atol=1e-5)
    with pytest.raises(DatasetError, match="teacher tiny takes films prepared otherwise"):
        probabilities_of([replace(bundles[0], preprocess=replace(dataset.spec, size=64))], dataset)
    with pytest.raises(DatasetError, match="teacher tiny finds a, b: not what the films show"):
        probabilities_of([replace(bundles[0], findings=("a", "b"))], dataset)
