"""Which engine serves."""

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from model.bundle import Bundle
from model.engine import choose
from model.engine.choose import ENGINES, open_engine
from model.errors import BundleError, EngineError, ModelError
from tests.unit.model.conftest import WHOLE
from worker.settings import Settings

VNNI = any(word in Path("/proc/cpuinfo").read_text() for word in ("avx512_vnni", "avx_vnni"))


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The choice on a CPU, also where the tests run beside a GPU."""
    monkeypatch.setattr(choose, "GPU", tmp_path / "nvidiactl")


def test_settings_offer_exactly_the_engines() -> None:
    assert list(get_args(Settings.model_fields["engine"].annotation)) == list(ENGINES)
    assert Settings.model_fields["engine"].default == choose.AUTO


@pytest.mark.parametrize(("name", "precision"), [("onnxruntime", "fp32"), ("onnxruntime-int8", "int8")])
def test_an_engine_by_name(int8_bundle: Bundle, name: str, precision: str) -> None:
    engine = open_engine(int8_bundle, name)
    assert engine.spec.name.endswith(f"-{precision}")
    assert np.isfinite(engine.infer(np.zeros((1, 1, 224, 224), np.uint8))).all()
    engine.close()


def test_no_such_engine(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="no engine 'openvino': there are auto, onnxruntime, "):
        open_engine(bundle, "openvino")


@pytest.mark.slow
@pytest.mark.skipif(not VNNI, reason="int8 need not be faster on a CPU without VNNI")
@pytest.mark.parametrize("blocks", [WHOLE], indirect=True)
def test_auto_takes_the_faster_variant(
    blocks: tuple[int, ...], int8_bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "xrayq.model"):
        started = time.process_time()
        assert open_engine(int8_bundle).spec.precision == "int8"
        assert time.process_time() - started < 10
    timed = {record.engine: record.ms for record in caplog.records}  # type: ignore[attr-defined]
    assert len(timed) == 2
    assert min(timed, key=timed.__getitem__).endswith("-int8")


def test_auto_without_variants(bundle: Bundle) -> None:
    assert open_engine(bundle).spec.precision == "fp32"


@pytest.mark.parametrize(
    "record",
    [{"passed": False}, {"passed": "true"}, {"val": {"share_with_other_flags": 0.021}}, {"val": {}}, {"val": None}],
    ids=str,
)
def test_auto_leaves_a_variant_that_did_not_pass(int8_bundle: Bundle, record: dict[str, Any]) -> None:
    failed = replace(int8_bundle, variants={"int8": int8_bundle.variants["int8"] | record})
    assert open_engine(failed).spec.precision == "fp32"
    with pytest.raises(EngineError, match=r"int8 of bundle random (was not measured|.* \(XRAYQ_FLAG_TOLERANCE\))"):
        open_engine(failed, "onnxruntime-int8")


def test_a_broken_variant_does_not_serve(int8_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(int8_bundle.onnx.read_bytes())
    (tmp_path / "model.int8.onnx").write_bytes(b"broken")
    broken = replace(int8_bundle, path=tmp_path)
    with pytest.raises(EngineError, match=r"cannot load .*model\.int8\.onnx"):
        open_engine(broken, "onnxruntime-int8")
    assert open_engine(broken, "auto").spec.precision == "fp32"


class Timed:
    """Takes so long for a film."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def warm_up(self) -> None:
        pass

    def infer(self, images: Any) -> Any:
        time.sleep(self.seconds)


def test_timing_ranks_engines(bundle: Bundle) -> None:
    seconds = choose._seconds([Timed(0.03), Timed(0.01), Timed(0.02)], bundle)  # type: ignore[list-item]
    assert np.argsort(seconds).tolist() == [1, 2, 0]


def test_a_missing_variant_stops_or_falls_back(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BundleError, match="has no int8 variant"):
        open_engine(bundle, "onnxruntime-int8")
    engine = open_engine(bundle, "onnxruntime-int8", fallback=True)
    assert engine.spec.precision == "fp32"
    (record,) = (one for one in caplog.records if one.levelno >= logging.WARNING)
    assert (record.engine, "no int8 variant" in record.reason) == ("onnxruntime-int8", True)  # type: ignore[attr-defined]


def test_the_reference_has_no_fallback(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot load"):
        open_engine(replace(bundle, path=tmp_path), "onnxruntime", fallback=True)


@pytest.mark.parametrize("name", choose.GPU_ENGINES)
def test_a_gpu_engine_without_its_library_says_what_is_missing(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    _, library, attribute = choose.GPU_ENGINES[name]
    monkeypatch.setitem(choose.GPU_ENGINES, name, ("model.engine.absent", library, attribute))
    with pytest.raises(EngineError, match=rf"engine {name} needs {library}: No module named"):
        open_engine(bundle, name, plans=tmp_path)
    assert open_engine(bundle, name, plans=tmp_path, fallback=True).spec.precision == "fp32"


def test_tensorrt_needs_a_folder_of_plans(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match="XRAYQ_PLAN_CACHE"):
        open_engine(bundle, "tensorrt")
