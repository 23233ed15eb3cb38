"""Small bundles with random weights, which score a film in a millisecond."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model import bundle as bundles
from model.bundle import Bundle


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
