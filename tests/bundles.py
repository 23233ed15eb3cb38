"""Small bundles with random weights, which score a film in a millisecond."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model import bundle as bundles
from model.bundle import Bundle
from model.calibration import Calibration
from model.conformal import Conformal
from model.xray_devices import DeviceCalibration


def small_bundle(folder: Path, seed: int = 0, **changes: Any) -> Bundle:
    """One with the network of a seed; `changes` are fields of the bundle. Skips where onnx is missing."""
    pytest.importorskip("onnx")
    from tests.unit.model.tiny import tiny_bundle

    plain = tiny_bundle(folder, seed)
    return bundles.derive(plain, folder / "small", name=f"small{seed}", **changes)


def with_threshold(bundle: Bundle, path: Path, threshold: float) -> Bundle:
    """The same network, each flag from `threshold` on."""
    points = tuple(replace(point, threshold=threshold) for point in bundle.operating_points)
    return bundles.derive(bundle, path, name=path.name, operating_points=points)


def device_calibration(bundle: Bundle, name: str, threshold: float, **match: str) -> DeviceCalibration:
    """A block for a device: twice the temperature, each flag from `threshold` on, every finding in each set."""
    return DeviceCalibration(
        name=name,
        match=match,
        calibration=Calibration(temperature=2 * bundle.calibration.temperature),
        operating_points=tuple(
            replace(point, threshold=threshold, id=point.id or f"{point.finding}@{name}")
            for point in bundle.operating_points
        ),
        conformal=Conformal(
            coverage=0.9, limits=dict.fromkeys(bundle.findings, 0.0), films=dict.fromkeys(bundle.findings, 100)
        ),
        metrics={},
        record={"films": 300},
    )
