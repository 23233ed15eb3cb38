"""Everything here needs an NVIDIA GPU. Without one the tests skip and say so; XRAYQ_REQUIRE_GPU=1 fails them."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.bundle import REFERENCE, Bundle, load
from model.engine.cuda import Cuda
from model.engine.ort import OrtEngine
from model.engine.parity import films
from model.errors import NoGpuError


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for one in items:
        if Path(__file__).parent in one.path.parents:
            one.add_marker(pytest.mark.gpu)


def missing(reason: str) -> None:
    """Skip, or fail where a GPU is required."""
    if os.environ.get("XRAYQ_REQUIRE_GPU") == "1":
        pytest.fail(reason)
    pytest.skip(f"NOT RUN, {reason}")


@pytest.fixture(scope="session")
def gpu() -> Cuda:
    try:
        return Cuda()
    except NoGpuError as error:
        missing(str(error))
        raise


@pytest.fixture(scope="session")
def bundle(gpu: Cuda) -> Bundle:
    return load(REFERENCE)


@pytest.fixture(scope="session")
def reference(bundle: Bundle) -> OrtEngine:
    return OrtEngine(bundle, threads=os.cpu_count() or 1)


@pytest.fixture(scope="session")
def images(bundle: Bundle) -> NDArray[np.uint8]:
    """uint8 [130, 1, size, size]: the parity films, each turned, mirrored and dimmed differently."""
    plain = films(bundle.preprocess.size)
    several = [np.rot90(plain[at % 8, 0], at // 8)[:, :: 1 if at % 3 else -1] // (1 + at % 2) for at in range(130)]
    return np.stack(several)[:, None].astype(np.uint8)


@pytest.fixture(scope="session")
def expected(reference: OrtEngine, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.concatenate([reference.infer(images[at : at + 10]) for at in range(0, len(images), 10)])
