"""Activation maps add up to what is served, are those of torch's own gradients, and lie where the film made them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from model.activation_map import ActivationMaps, FilmMaps, finding_to_show
from model.bundle import REFERENCE, Bundle, load
from model.engine.ort import OrtEngine
from model.errors import BundleError, EngineError
from model.findings import NOT_NORMAL
from tests.unit.model.conftest import write_bundle
from tests.unit.model.tiny import SIZE, deep_network, network, tiny_bundle, tiny_network

EXACT = 1e-5
"""Of a logit: what float32 loses in a sum of 73,728 products. Measured: at most 5.1e-7 on the films below, 1.8e-6 on
four real ones."""


def noise(size: int, films: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (films, 1, size, size), np.uint8)


def assert_adds_up(bundle: Bundle, precision: str, images: NDArray[np.uint8]) -> None:
    """Sum of the signed map and bias, against what the engine serves."""
    served = OrtEngine(bundle, threads=1, precision=precision).infer(images)
    maps = ActivationMaps(bundle, threads=1, precision=precision).of(images)
    sums = np.stack([film.parts.sum(axis=(1, 2), dtype=np.float64) + film.bias for film in maps])
    furthest = np.abs(sums - served).max()
    print(f"{bundle.name} {precision}: sum and served logit differ by at most {furthest:.1e}, allowed {EXACT:.0e}")
    assert furthest < EXACT
    assert np.array_equal([film.logits for film in maps], served), "the second output must change nothing"
    assert np.abs(served).max() > 0.05


@pytest.mark.parametrize("made", [tiny_network, deep_network], ids=["tiny", "deep"])
def test_a_small_networks_map_adds_up(made: Callable[[int], onnx.ModelProto], tmp_path: Path) -> None:
    assert_adds_up(tiny_bundle(tmp_path, network=made), "fp32", noise(SIZE))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_random_networks_map_adds_up(precision: str, int8_bundle: Bundle, images: NDArray[np.uint8]) -> None:
    assert_adds_up(int8_bundle, precision, images[:3])


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_shipped_networks_map_adds_up(precision: str, images: NDArray[np.uint8]) -> None:
    assert_adds_up(load(REFERENCE), precision, images[:3])


def test_an_engine_in_fp16_is_explained_by_the_fp32_network(tmp_path: Path) -> None:
    bundle, films = tiny_bundle(tmp_path), noise(SIZE)
    plain, half = (ActivationMaps(bundle, threads=1, precision=name).of(films) for name in ("fp32", "fp16"))
    assert np.array_equal(plain[0].parts, half[0].parts)
    with pytest.raises(BundleError, match="int8"):
        ActivationMaps(bundle, threads=1, precision="int8")


def test_maps_are_gradient_times_feature(bundle: Bundle, network: Any, images: NDArray[np.uint8]) -> None:
    """HiResCAM by torch, to the precision of the fp16 weights."""
    torch = pytest.importorskip("torch")
    seen: list[Any] = []
    hook = network.trunk.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    logits = network(torch.from_numpy(images))
    hook.remove()
    maps = np.stack([film.parts for film in ActivationMaps(bundle, threads=1).of(images)])
    assert maps.shape == (len(images), len(bundle.findings), 6, 6)
    for finding in range(len(bundle.findings)):
        (gradient,) = torch.autograd.grad(logits[:, finding].sum(), seen[0], retain_graph=True)
        wanted = (gradient * seen[0]).sum(dim=1).detach().numpy()
        assert not wanted[:, 6].any()
        assert not wanted[:, :, 6].any(), "the head reads neither the last row nor the last column"
        assert np.abs(maps[:, finding] - wanted[:, :6, :6]).max() < 0.01 * np.abs(wanted).max()


def test_evidence_is_what_spoke_for_a_finding(tmp_path: Path) -> None:
    film, other = ActivationMaps(tiny_bundle(tmp_path), threads=1).of(noise(SIZE, 2))
    normal, pneumonia, _ = film.parts
    assert (normal > 0).any()
    assert (normal < 0).any()
    assert np.array_equal(film.evidence("pneumonia"), np.where(pneumonia > 0, pneumonia, 0))
    assert np.array_equal(film.evidence(NOT_NORMAL), np.where(normal < 0, -normal, 0))
    assert not np.array_equal(film.evidence("pneumonia"), other.evidence("pneumonia"))
    with pytest.raises(ValueError, match="effusion"):
        film.evidence("effusion")


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ((), None),
        ((NOT_NORMAL,), NOT_NORMAL),
        ((NOT_NORMAL, "covid19"), "covid19"),
        ((NOT_NORMAL, "pneumonia", "covid19"), "pneumonia"),
    ],
)
def test_the_map_to_show_is_of_the_most_probable_flag(flags: tuple[str, ...], shown: str | None) -> None:
    assert finding_to_show(flags, {"normal": 0.05, "pneumonia": 0.5, "covid19": 0.45}) == shown


def strided(kernel: int, stride: int, pad: int) -> onnx.ModelProto:
    """tiny_network with another convolution, one that looks at every pixel the same."""
    made = tiny_network()
    nodes, sides = list(made.graph.node), (SIZE + 2 * pad - kernel) // stride + 1
    (conv,) = (node for node in nodes if node.op_type == "Conv")
    del conv.attribute[:]
    shape = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
    conv.attribute.extend(helper.make_attribute(name, value) for name, value in shape.items())
    values = {tensor.name: tensor for tensor in made.graph.initializer}
    weights: dict[str, NDArray[Any]] = {
        name: onnx.numpy_helper.to_array(values[name]) for name in ("scale", "one", "three", "kernel_bias", "head_bias")
    }
    weights |= {
        "kernel": np.ones((8, 3, kernel, kernel), np.float32),
        "flat": np.array([-1, 8 * (sides // 2) ** 2], np.int64),
        "head": np.ones((3, 8 * (sides // 2) ** 2), np.float32),
    }
    return network([node for node in nodes if node.op_type != "Cast" or node.input[0] == "images"], weights)


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(3, 1, 1), (4, 4, 0), (7, 2, 3), (5, 3, 1)])
def test_a_place_is_centred_on_what_it_looks_at(kernel: int, stride: int, pad: int, tmp_path: Path) -> None:
    """A bright pixel changes the places around it, as many on one side as on the other."""
    bundle = tiny_bundle(tmp_path, network=lambda _seed: strided(kernel, stride, pad))
    maps = ActivationMaps(bundle, threads=1)
    dark = np.full((1, 1, SIZE, SIZE), 200, np.uint8)
    (before,) = maps.of(dark)
    lattice = before.lattice
    assert (lattice.step, lattice.first) == (stride, (kernel - 1) / 2 - pad)
    for row, column in ((8, 17), (15, 10), (13, 13)):
        dotted = dark.copy()
        dotted[0, 0, row, column] = 255
        (after,) = maps.of(dotted)
        changed = np.argwhere(np.abs(after.parts - before.parts)[0] > 1e-4)
        assert len(changed)
        nearest = changed * lattice.step + lattice.first
        assert (np.abs(nearest - (row, column)) <= kernel / 2).all()
        assert (np.abs(nearest.mean(axis=0) - (row, column)) <= stride / 2).all()


def test_the_shipped_networks_places() -> None:
    bundle = load(REFERENCE)
    (film,) = ActivationMaps(bundle, threads=1).of(np.zeros((1, 1, 224, 224), np.uint8))
    assert (film.lattice.step, film.lattice.first, film.lattice.size) == (32, 0, 224)


def broken(bundle: Bundle, folder: Path, change: Callable[[onnx.ModelProto], None]) -> Bundle:
    made = onnx.load(str(bundle.onnx))
    change(made)
    onnx.save(made, str(folder / "broken.onnx"))
    return write_bundle(folder / "broken", folder / "broken.onnx", size=SIZE)


def of_kind(made: onnx.ModelProto, kind: str) -> Any:
    (found,) = (node for node in made.graph.node if node.op_type == kind)
    return found


def overlap(made: onnx.ModelProto) -> None:
    (strides,) = (one for one in of_kind(made, "AveragePool").attribute if one.name == "strides")
    strides.ints[:] = [1, 1]


def other_pool(made: onnx.ModelProto) -> None:
    of_kind(made, "AveragePool").op_type = "MaxPool"


def scaled(made: onnx.ModelProto) -> None:
    of_kind(made, "Gemm").attribute.append(helper.make_attribute("alpha", 2.0))


@pytest.mark.parametrize(
    ("change", "words"), [(overlap, "overlaps"), (other_pool, "MaxPool"), (scaled, "turns or scales")]
)
def test_another_head_is_refused(change: Callable[[onnx.ModelProto], None], words: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=rf"no activation map of .*{words}"):
        ActivationMaps(broken(tiny_bundle(tmp_path / "whole"), tmp_path, change), threads=1)


def test_a_damaged_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "damaged.onnx").write_bytes(b"no network")
    with pytest.raises(EngineError, match="no activation map of"):
        ActivationMaps(write_bundle(tmp_path / "damaged", tmp_path / "damaged.onnx", size=SIZE), threads=1)


def of_torch(made: onnx.ModelProto, begins: str, ends: str) -> Any:
    """What computes one value of the network from another, in torch, by the operations and weights of its file."""
    from model.engine.torch_graph import OnnxModule

    part = onnx.ModelProto()
    part.CopyFrom(made)
    steps, needed = [], {ends}
    for node in reversed(made.graph.node):
        if needed & set(node.output) - {begins}:
            steps.append(node)
            needed |= set(node.input)
    for field in (part.graph.node, part.graph.input, part.graph.output):
        del field[:]
    part.graph.node.extend(reversed(steps))
    part.graph.input.append(helper.make_empty_tensor_value_info(begins))
    part.graph.output.append(helper.make_empty_tensor_value_info(ends))
    return OnnxModule(part.SerializeToString())


def test_the_shipped_networks_maps_are_torchs_gradients() -> None:
    """HiResCAM: gradient of the logit times the feature map, of torch's autograd through the head in the shipped file.

    Grad-CAM, which averages the gradient over the places first, is another map here: the head weighs each window.
    """
    torch = pytest.importorskip("torch")
    bundle, images = load(REFERENCE), noise(224)
    network = onnx.load(str(bundle.onnx))
    features_of = of_kind(network, "AveragePool").input[0]
    with torch.no_grad():
        features = of_torch(network, "images", features_of)(torch.from_numpy(images))
    features.requires_grad_()
    logits = of_torch(network, features_of, "logits")(features)
    maps = ActivationMaps(bundle, threads=1).of(images)
    for finding, name in enumerate(bundle.findings):
        (gradient,) = torch.autograd.grad(logits[:, finding].sum(), features, retain_graph=True)
        wanted = (gradient * features).sum(dim=1).detach().numpy()
        found = np.stack([film.parts[finding] for film in maps])
        rows, columns = found.shape[1:]
        furthest = np.abs(found - wanted[:, :rows, :columns]).max()
        print(f"{name}: the map and torch's differ by at most {furthest:.1e} of {np.abs(wanted).max():.2f}")
        assert furthest < EXACT
        assert not wanted[:, rows:].any()
        assert not wanted[:, :, columns:].any()


def test_films_of_another_size_are_refused(tmp_path: Path) -> None:
    maps = ActivationMaps(tiny_bundle(tmp_path), threads=1)
    assert isinstance(maps.of(noise(SIZE))[0], FilmMaps)
    with pytest.raises(EngineError, match="ONNX Runtime failed"):
        maps.of(noise(SIZE // 2))
