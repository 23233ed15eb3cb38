"""A finished training run into a bundle: export, calibrate on validation, measure on every split, write."""

import platform
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torchvision

from model import bundle as bundles
from model.bundle import Bundle
from model.calibration import Calibration, fit_temperature, probabilities
from model.data.bundle_films import logits_of
from model.data.dataset import Dataset
from model.engine.ort import OrtEngine
from model.findings import negative_of
from model.stats.operating_points import bundle_metrics, choose_point
from model.training.export import export_onnx
from model.training.recipe import TrainConfig
from model.training.train import Trained

TARGET_SENSITIVITY = 0.9


def build_bundle(
    path: Path,
    *,
    version: str,
    trained: Trained,
    dataset: Dataset,
    config: TrainConfig,
    command: str,
    initial: str,
    pretraining: dict[str, Any] | None = None,
    device: str,
) -> Bundle:
    """Write `path`. Every figure in it is measured through ONNX Runtime on the exported fp16 weights, as served."""
    spec = dataset.spec
    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(folder) / "model.onnx"
        export_onnx(trained.network, onnx, spec.size)
        plain = Bundle(
            name=path.name,
            version=version,
            findings=dataset.findings,
            preprocess=spec,
            calibration=Calibration(temperature=1.0),
            operating_points=(),
            metrics={},
            provenance={},
        )
        engine = OrtEngine(
            bundles.write(Path(folder) / "draft", plain, files={bundles.MODEL: onnx}), threads=torch.get_num_threads()
        )
        logits = {split: logits_of(engine, films) for split, films in dataset.splits.items()}
        engine.close()
        labels = dataset.splits["val"].labels
        temperature = fit_temperature(logits["val"], labels)
        chances = {split: probabilities(rows, temperature) for split, rows in logits.items()}
        points = tuple(
            choose_point(name, chances["val"][:, index], labels == index, sensitivity=TARGET_SENSITIVITY, split="val")
            for index, name in enumerate(dataset.findings)
            if name != negative_of(dataset.findings)
        )
        finished = replace(
            plain,
            calibration=Calibration(temperature=temperature),
            operating_points=points,
            metrics={
                split: bundle_metrics(chances[split], films.labels, dataset.findings, points).as_dict()
                for split, films in dataset.splits.items()
            },
            provenance={
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": command,
                "initial_weights": initial,
                "pretraining": pretraining,
                "device": device,
                "recipe": config.as_dict(),
                "kept": trained.kept,
                "history": [epoch.as_dict() for epoch in trained.epochs],
                "data_digest": dataset.digest,
                "views": list(dataset.views) or ["all"],
                "train_views": list(dataset.train_views) or ["all"],
                "films": {split: films.counts() for split, films in dataset.splits.items()},
                "versions": {
                    "python": platform.python_version(),
                    "torch": torch.__version__,
                    "torchvision": torchvision.__version__,
                },
                "intended_use": "Research and evaluation. Not a medical device.",
            },
        )
        return bundles.write(path, finished, files={bundles.MODEL: onnx})
