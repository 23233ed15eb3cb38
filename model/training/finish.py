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
from model.calibration import Calibration, fit_temperature
from model.data.bundle_films import logits_of
from model.data.dataset import Dataset
from model.data.flow import FLOW, Flow
from model.engine.ort import OrtEngine
from model.stats.operating_points import bundle_metrics
from model.stats.thresholds import choose_points, default_targets
from model.training.export import export_onnx
from model.training.recipe import TrainConfig
from model.training.train import Trained


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
    helpers: dict[str, Any] | None = None,
    flow: Flow | None = None,
    device: str,
) -> Bundle:
    """Write `path`. Every figure in it is measured through ONNX Runtime on the exported fp16 weights, as served.

    `helpers` says what else taught, `flow` which films were left out of the prepared set, both for the record.
    """
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
        films = dataset.splits["val"]
        calibration = Calibration(temperature=fit_temperature(logits["val"], films.labels))
        points = choose_points(
            calibration.probabilities(logits["val"]),
            films.labels,
            dataset.findings,
            default_targets(dataset.findings),
            patients=films.patients,
            split="val",
        )
        finished = replace(
            plain,
            calibration=calibration,
            operating_points=points,
            metrics={
                split: bundle_metrics(
                    calibration, logits[split], films.labels, dataset.findings, points, films.patients
                ).as_dict()
                for split, films in dataset.splits.items()
            },
            provenance={
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": command,
                "initial_weights": initial,
                "pretraining": pretraining,
                **{name: value for name, value in (helpers or {}).items() if value},
                "device": device,
                "recipe": config.as_dict(),
                "kept": trained.kept,
                "history": [epoch.as_dict() for epoch in trained.epochs],
                "data_digest": dataset.digest,
                "views": list(dataset.views) or ["all"],
                "train_views": list(dataset.train_views) or ["all"],
                "films": {split: films.counts() for split, films in dataset.splits.items()},
                **({FLOW: flow.as_dict()} if flow else {}),
                "versions": {
                    "python": platform.python_version(),
                    "torch": torch.__version__,
                    "torchvision": torchvision.__version__,
                },
                "intended_use": "Research and evaluation. Not a medical device.",
            },
        )
        return bundles.write(path, finished, files={bundles.MODEL: onnx})
