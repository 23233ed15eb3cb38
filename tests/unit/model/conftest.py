"""What many tests of the model need: a network with random weights and its bundle, small films, the command itself."""

import fcntl
import os
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model import bundle as bundles
from model.bundle import Bundle
from model.calibration import Calibration
from model.data.dataset import Dataset
from model.decision import OperatingPoint
from model.findings import FINDINGS
from model.preprocess import PreprocessSpec, to_input
from tests.phantoms import chest_pixels
from tests.services import Xrayq, typed_in
from tests.unit.model.films import dataset_for, rows_for

if TYPE_CHECKING:
    from model.evaluation.evaluate import Evaluation
    from model.training.resnet import ChestResNet50

TEMPERATURE = 2.0
THIN, WHOLE = (1, 1, 1, 1), (3, 4, 6, 3)
"""Blocks in the four stages: of a network with all that a ResNet50 has, in a tenth of its time; and of the ResNet50."""
THRESHOLDS = {"pneumonia": 0.0, "covid19": 1.0}
"""One always flags, the other only when certain."""


@pytest.fixture(scope="session")
def images() -> NDArray[np.uint8]:
    """uint8 [8, 1, 224, 224]: phantoms of different noise and sense, a blank film and a gradient."""
    films: list[Any] = [chest_pixels(256, 256, seed=seed) for seed in range(3)]
    films += [4095 - films[0], np.roll(films[1], 60, axis=0), films[2].T, films[0][:128, :128]]
    inputs = [to_input(film, low=0, high=4095) for film in films]
    return np.stack([*inputs, np.zeros((224, 224), np.uint8)])[:, None]


@pytest.fixture(scope="session")
def blocks(request: pytest.FixtureRequest) -> tuple[int, ...]:
    """Of the random network: THIN, but where a test's parameter says WHOLE."""
    found: tuple[int, ...] = getattr(request, "param", THIN)
    return found


@pytest.fixture(scope="session")
def network(blocks: tuple[int, ...], images: NDArray[np.uint8]) -> "ChestResNet50":
    """Random weights, with batch norm statistics of the phantoms so that activations stay in range. The same in every
    process, to the bit: by one thread."""
    torch = pytest.importorskip("torch")
    from model.training.recipe import TrainConfig
    from model.training.train import build
    from tests.unit.model.small import residual

    with residual(blocks):
        made, threads = build(TrainConfig(dropout=0.0), None), torch.get_num_threads()
    made.train()
    torch.set_num_threads(1)
    with torch.no_grad():
        made.head.weight.mul_(4)  # so that films differ by as much as those of a ResNet50
        made.head.bias.copy_(torch.tensor([0.1, -0.2, 0.3]))
        for _ in range(3):
            made(torch.from_numpy(images))
    torch.set_num_threads(threads)
    return made.eval()


@pytest.fixture(scope="session")
def bundle(request: pytest.FixtureRequest, blocks: tuple[int, ...], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The network's. Exporting it takes seconds, so the processes of one test run share it: nobody changes it."""
    pytest.importorskip("onnx")

    def make(folder: Path) -> None:
        from model.training.export import export_onnx

        export_onnx(request.getfixturevalue("network"), folder / "model.onnx", 224)
        write_bundle(folder / "random", folder / "model.onnx")

    return bundles.load(made_once(tmp_path_factory, f"bundle-{sum(blocks)}", make) / "random")


@pytest.fixture(scope="session")
def int8_bundle(
    bundle: Bundle, blocks: tuple[int, ...], images: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """The same network with an int8 variant, calibrated on the phantoms."""

    def make(folder: Path) -> None:
        from model.int8.quantize import Recipe, quantize
        from model.int8.share import shared

        content = bundle.onnx.read_bytes()
        (folder / "int8.onnx").write_bytes(shared(quantize(content, images, Recipe()), content, bundles.MODEL))
        record = {"passed": True, "val": {"share_with_other_flags": 0.01}}
        variants, files = {"int8": record | {"file": "model.int8.onnx"}}, {"model.int8.onnx": folder / "int8.onnx"}
        write_bundle(folder / "random", bundle.onnx, files=files, variants=variants)

    return bundles.load(made_once(tmp_path_factory, f"int8-{sum(blocks)}", make) / "random")


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first of this run's processes fills and the others find."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    place = root / f"shared-{name}"
    with (root / f"shared-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            half = tmp_path_factory.mktemp(name)
            make(half)
            half.rename(place)
    return place


def write_bundle(
    path: Path,
    onnx: Path,
    findings: tuple[str, ...] = FINDINGS,
    size: int = 224,
    files: dict[str, Path] | None = None,
    **changes: Any,
) -> Bundle:
    draft = Bundle(
        name=path.name,
        version="0",
        findings=findings,
        preprocess=PreprocessSpec(size=size),
        calibration=Calibration(temperature=TEMPERATURE),
        operating_points=tuple(
            OperatingPoint(
                finding=finding,
                threshold=threshold,
                sensitivity=0.9,
                specificity=0.5,
                positives=1,
                negatives=1,
                chosen_on="test",
            )
            for finding, threshold in THRESHOLDS.items()
            if finding in findings
        ),
        metrics={},
        provenance={},
        **changes,
    )
    return bundles.write(path, draft, files={bundles.MODEL: onnx} | (files or {}))


@pytest.fixture
def xrayq(tmp_path: Path) -> Iterator[Xrayq]:
    with typed_in(tmp_path) as run:
        yield run


@pytest.fixture(scope="session")
def evaluated_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 42 films of evaluation.py."""
    from tests.unit.model.prepared_set import prepared

    return prepared(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="session")
def evaluation(bundle: Bundle, evaluated_films: Path) -> "Evaluation":
    """Theirs by the random network. Shared: nobody changes it."""
    from tests.unit.model.prepared_set import evaluated

    return evaluated(bundle, evaluated_films)


@pytest.fixture
def no_internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing downloaded before, and a proxy where nobody listens."""
    import torch

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Two threads wait for each other most of the time, in small networks or on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def thin() -> Iterator[None]:
    """Commands train a thin network instead of a ResNet50."""
    from tests.unit.model.small import residual

    with residual():
        yield


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twelve training and six validation films of 32 x 32."""
    return dataset_for(tmp_path_factory.mktemp("films"), rows_for({"train": 4, "val": 2}))
