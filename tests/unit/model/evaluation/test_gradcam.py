"""Grad-CAM from the bundle's graph, against torch's own gradients."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.bundle import Bundle
from model.errors import EngineError
from model.evaluation.gradcam import GradCam, overlay
from model.findings import FINDINGS
from tests.unit.model.conftest import write_bundle

torch = pytest.importorskip("torch")
ALL = np.arange(len(FINDINGS))


@pytest.fixture(scope="module")
def gradcam(bundle: Bundle) -> GradCam:
    return GradCam(bundle, threads=1)


@pytest.fixture(scope="module")
def by_autograd(network: Any, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Grad-CAM as published: mean gradient of a logit over places, times the feature map, rectified."""
    seen: list[Any] = []
    hook = network.trunk.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    logits = network(torch.from_numpy(images))
    hook.remove()
    maps, gradients = [], []
    for finding in ALL:
        (gradient,) = torch.autograd.grad(logits[:, finding].sum(), seen[0], retain_graph=True)
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        maps.append(torch.relu((weights * seen[0]).sum(dim=1)).detach().numpy())
        gradients.append(gradient.numpy())
    return {"maps": np.stack(maps, axis=1), "gradients": np.stack(gradients, axis=1)}


def test_maps_are_those_of_autograd(gradcam: GradCam, images: NDArray[np.uint8], by_autograd: Any) -> None:
    """To the precision of the fp16 weights: relative to each film's and finding's largest value."""
    maps = gradcam.maps(images, np.tile(ALL, (len(images), 1)))
    wanted = by_autograd["maps"]
    assert maps.shape == wanted.shape == (len(images), len(FINDINGS), 7, 7)
    scale = wanted.max(axis=(2, 3), keepdims=True)
    assert (scale > 0).any(axis=0).all(), "a finding without any map would show nothing"
    assert np.abs(maps - wanted).max() / scale.max() < 0.01
    flat = [
        (one.ravel(), other.ravel()) for one, other in zip(maps.reshape(-1, 49), wanted.reshape(-1, 49), strict=True)
    ]
    assert all(np.corrcoef(one, other)[0, 1] > 0.999 for one, other in flat if one.any() and other.any())


def test_findings_are_told_apart(gradcam: GradCam, images: NDArray[np.uint8]) -> None:
    both = gradcam.maps(images[:2], np.array([[0, 2], [2, 0]]))
    swapped = gradcam.maps(images[:2], np.array([[2, 0], [0, 2]]))
    assert np.array_equal(both, swapped[:, ::-1])
    assert not np.allclose(both[0, 0], both[0, 1])


def test_read_keeps_exactly_the_places_with_a_gradient(gradcam: GradCam, by_autograd: Any) -> None:
    read = gradcam.read(np.ones((7, 7), np.float32)) > 0
    assert np.array_equal(read, np.abs(by_autograd["gradients"]).sum(axis=(0, 1, 2)) > 0)
    assert read.sum() == 36


def test_overlay_colours_where_the_map_is(images: NDArray[np.uint8]) -> None:
    film = images[0, 0]
    heat = np.zeros((7, 7), np.float32)
    heat[1, 5] = 3.0
    shown = overlay(film, heat)
    changed = (shown != film[:, :, None]).any(axis=2)
    assert shown.shape == (224, 224, 3)
    assert changed[40:56, 168:184].all()
    assert not changed[112:].any()
    assert not changed[:, :112].any()


def test_overlay_of_nothing_is_the_film(images: NDArray[np.uint8]) -> None:
    assert np.array_equal(overlay(images[0, 0], np.zeros((7, 7), np.float32)), np.repeat(images[0, 0][..., None], 3, 2))


def test_another_head_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(str(bundle.onnx))
    (pool,) = [node for node in model.graph.node if node.op_type == "AveragePool"]
    for attribute in pool.attribute:
        if attribute.name == "strides":
            attribute.ints[:] = [1, 1]
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(EngineError, match=r"no Grad-CAM of .*overlaps"):
        GradCam(write_bundle(tmp_path / "overlapping", tmp_path / "other.onnx"), threads=1)
    pool.op_type = "MaxPool"
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(EngineError, match="MaxPool"):
        GradCam(write_bundle(tmp_path / "other", tmp_path / "other.onnx"), threads=1)
