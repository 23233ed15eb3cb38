"""The exported network, ONNX Runtime, and scores."""

import getpass
import platform
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from model.bundle import MODEL, Bundle
from model.calibration import probabilities
from model.engine.ort import OrtEngine
from model.errors import BundleError, EngineError
from model.findings import FINDINGS
from model.scorer import score
from tests.unit.model.conftest import TEMPERATURE, THIN, WHOLE, write_bundle
from tests.unit.model.engine_contract import CHECKS, Subject

if TYPE_CHECKING:
    from model.training.resnet import ChestResNet50

TOLERANCES = {"fp32": 1e-6, "int8": 0.08}
"""Of a logit of the random network; between films its logits differ by up to 0.24. The real one is `xrayq compile`s."""


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Iterator[OrtEngine]:
    made = OrtEngine(bundle, threads=2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def by_torch(network: "ChestResNet50", images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits of the same network in torch: batch norm folded, then matrices and kernels rounded to fp16."""
    import torch
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    from model.training.loop import predict

    folded = deepcopy(network).eval()
    for module in folded.modules():
        children = dict(module.named_children())
        pairs = [(f"conv{index}", f"bn{index}") for index in (1, 2, 3)] + [("0", "1")]
        for conv, norm in pairs:
            if isinstance(children.get(conv), nn.Conv2d) and isinstance(children.get(norm), nn.BatchNorm2d):
                setattr(module, conv, fuse_conv_bn_eval(children[conv], children[norm]))
                setattr(module, norm, nn.Identity())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    with torch.no_grad():
        for parameter in folded.parameters():
            if parameter.dim() >= 2:
                parameter.copy_(parameter.half().float())
    return predict(folded, images.__getitem__, len(images))


@pytest.mark.parametrize("count", [1, 3, 8])
def test_onnx_answers_as_torch_does_for_any_batch(
    engine: OrtEngine, images: NDArray[np.uint8], by_torch: NDArray[np.float32], count: int
) -> None:
    logits = engine.infer(images[:count])
    assert (logits.dtype, logits.shape) == (np.float32, (count, len(FINDINGS)))
    assert np.abs(logits - by_torch[:count]).max() < 1e-3


def test_films_differ_far_more_than_that(by_torch: NDArray[np.float32]) -> None:
    gaps = np.abs(by_torch[:, None] - by_torch[None]).max(axis=2) + np.eye(len(by_torch))
    assert gaps.min() > 5e-3
    assert gaps.max() > 0.1


@pytest.fixture(scope="module", params=TOLERANCES)
def subject(
    request: pytest.FixtureRequest, int8_bundle: Bundle, engine: OrtEngine, images: NDArray[np.uint8]
) -> Iterator[Subject]:
    def make() -> OrtEngine:
        return OrtEngine(int8_bundle, threads=2, precision=request.param)

    made = make()
    made.warm_up()
    yield Subject(
        engine=made,
        again=make,
        images=images,
        reference=engine.infer(images),
        tolerance=TOLERANCES[request.param],
    )
    made.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(subject: Subject, check: Callable[[Subject], None]) -> None:
    check(subject)


def test_name(subject: Subject) -> None:
    assert subject.engine.spec.name == f"onnxruntime-{onnxruntime.__version__}-{subject.engine.spec.precision}"
    assert subject.engine.spec.device == "cpu"


def test_a_variant_the_bundle_has_not(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="no int8 variant: 'xrayq compile' makes one"):
        OrtEngine(bundle, threads=1, precision="int8")


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\x07" * 500, bytes(1000)], ids=len)
def test_garbage_is_not_a_network(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    made = write_bundle(tmp_path / "garbage", tmp_path / "x")
    with pytest.raises(EngineError, match=r"cannot load .*model\.onnx") as caught:
        OrtEngine(made, threads=1).warm_up()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("findings", "size"), [(FINDINGS[:2], 224), (FINDINGS, 192), (FINDINGS, 256)])
def test_network_of_another_bundle_is_found_out(
    bundle: Bundle, tmp_path: Path, findings: tuple[str, ...], size: int
) -> None:
    made = write_bundle(tmp_path / "mixed", bundle.onnx, findings, size)
    with pytest.raises(EngineError):
        OrtEngine(made, threads=1).warm_up()


def test_scores(engine: OrtEngine, bundle: Bundle, images: NDArray[np.uint8]) -> None:
    logits = engine.infer(images)
    scores = score(engine, bundle, images)
    assert len(scores) == len(images)
    for row, one in zip(logits, scores, strict=True):
        assert tuple(one.probabilities) == tuple(one.logits) == FINDINGS
        assert sum(one.probabilities.values()) == pytest.approx(1, abs=1e-12)
        assert list(one.logits.values()) == pytest.approx(row.tolist())
        expected = probabilities(row[None], TEMPERATURE)[0]
        assert list(one.probabilities.values()) == pytest.approx(expected.tolist())
        assert one.flags == ("pneumonia",)


def test_flags_follow_the_bundles_operating_points(
    engine: OrtEngine, bundle: Bundle, images: NDArray[np.uint8]
) -> None:
    (plain,) = score(engine, bundle, images[:1])
    exact = tuple(replace(point, threshold=plain.probabilities[point.finding]) for point in bundle.operating_points)
    (flagged,) = score(engine, replace(bundle, operating_points=exact), images[:1])
    assert flagged.flags == ("pneumonia", "covid19")


def test_logits_that_are_not_finite_are_no_score(bundle: Bundle, tmp_path: Path, images: NDArray[np.uint8]) -> None:
    onnx = pytest.importorskip("onnx")
    broken = onnx.load(bundle.onnx)
    bias = next(one for one in broken.graph.initializer if list(one.dims) == [len(FINDINGS)])
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(len(FINDINGS), np.nan, np.float32), bias.name))
    onnx.save(broken, tmp_path / "nan.onnx")
    made = write_bundle(tmp_path / "nan", tmp_path / "nan.onnx")
    engine = OrtEngine(made, threads=1)
    with pytest.raises(EngineError, match="non-finite"):
        engine.warm_up()
    with pytest.raises(EngineError, match="non-finite"):
        score(engine, made, images[:1])


def test_exported_file_tells_nothing_of_this_machine(bundle: Bundle) -> None:
    content = bundle.onnx.read_bytes()
    names = {b"site-packages", b"/home/", b"/root", b"/work", b".py\x00", b'.py"', str(Path.cwd()).encode()}
    names |= {name.encode() for name in (platform.node(), getpass.getuser()) if len(name) > 4}
    assert [name for name in names if name in content] == []


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [WHOLE], indirect=True)
def test_exported_file_is_half_the_weights(blocks: tuple[int, ...], bundle: Bundle) -> None:
    assert 40e6 < bundle.onnx.stat().st_size < 50e6


@pytest.mark.parametrize(
    ("blocks", "convolutions"), [(THIN, 17), pytest.param(WHOLE, 53, marks=pytest.mark.slow)], indirect=["blocks"]
)
def test_exported_graph(blocks: tuple[int, ...], convolutions: int, bundle: Bundle) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(bundle.path / MODEL).graph
    shapes = {
        value.name: [one.dim_param or one.dim_value for one in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {"images": ["batch", 1, 224, 224], "logits": ["batch", 3]}
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    large = [one for one in graph.initializer if len(one.dims) >= 2]
    assert len(large) == convolutions + 1  # and the head
    assert {one.data_type for one in large} == {onnx.TensorProto.FLOAT16}
