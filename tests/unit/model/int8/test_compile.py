"""`xrayq compile --precision int8`: a new bundle when int8 agrees, nothing when it does not.

The rules hold for any network, so this one is small; test_quantize.py and test_ort.py do a ResNet.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import bundle as bundles
from model.bundle import MANIFEST, MODEL, Bundle
from model.data.dataset import load_dataset
from model.engine.choose import open_engine
from model.engine.ort import OrtEngine
from model.errors import BundleError, DatasetError, EngineError, ParityError

pytest.importorskip("onnx")

from model.int8.compile import INT8, compile_int8
from model.int8.quantize import Recipe
from tests.services import typed
from tests.unit.model.prepared_set import prepared
from tests.unit.model.tiny import SIZE, deep_network, tiny_bundle

LOOSE: dict[str, Any] = {"flag_tolerance": 1.0, "auroc_tolerance": 1.0, "threads": 2, "calibration_films": 6}
"""Of a random network's six films AUROC says nothing."""
COARSE = Recipe(percentile=60.0)
"""Clips away most of what the network sees."""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("films"), size=SIZE)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("deep"), seed=2, network=deep_network)


@pytest.fixture(scope="module")
def delicate(bundle: Bundle, films: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The random network with a threshold in the middle of its own validation films, so that flags can change."""
    val = load_dataset(films, views=("PA",)).splits["val"]
    chances = bundle.calibration.probabilities(OrtEngine(bundle, threads=2).infer(val.images))
    points = tuple(
        replace(point, threshold=float(np.median(chances[:, bundle.findings.index(point.finding)])))
        for point in bundle.operating_points
    )
    return bundles.derive(
        bundle,
        tmp_path_factory.mktemp("delicate") / "delicate",
        name="delicate",
        version="3",
        operating_points=points,
        metrics={"val": {}},
        provenance={"views": ["PA"], "train_views": ["all"]},
    )


@pytest.fixture(scope="module")
def compiled(delicate: Bundle, films: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("compiled") / "fast"
    return compile_int8(delicate, films, out, **LOOSE, recipes=(Recipe(),))


def test_the_new_bundle_is_the_old_one_and_a_variant(delicate: Bundle, compiled: Bundle) -> None:
    assert compiled.onnx.read_bytes() == delicate.onnx.read_bytes()
    assert compiled.digest != delicate.digest
    changed = {name for name in asdict(delicate) if getattr(compiled, name) != getattr(delicate, name)}
    assert changed == {"path", "digest", "variants", "parent", "files"}
    assert sorted(one.name for one in compiled.path.iterdir()) == [MANIFEST, "model.int8.onnx", MODEL]


def test_what_was_measured_is_recorded(compiled: Bundle, films: Path) -> None:
    record = compiled.variants[INT8]
    assert (record["passed"], record["tried"]) == (True, 1)
    assert record["limits"] == {"flag_tolerance": 1.0, "auroc_tolerance": 1.0}
    assert record["made"]["films"] == 6
    assert record["made"]["data_digest"] == load_dataset(films, views=("PA",), train_views=()).digest
    assert set(record["images_per_s"]) == {"fp32", "int8"}
    assert (record["val"]["films"], record["test"]["films"]) == (6, 12)
    val = load_dataset(films, views=("PA",)).splits["val"]
    before, after = (
        compiled.calibration.probabilities(OrtEngine(compiled, threads=2, precision=name).infer(val.images))
        for name in ("fp32", INT8)
    )
    assert record["val"]["largest_difference"] == pytest.approx(np.abs(before - after).max(), abs=1e-3)
    assert record["val"]["mean_difference"] == pytest.approx(np.abs(before - after).mean(), abs=1e-3)


def test_int8_that_changes_flags_is_refused(delicate: Bundle, films: Path, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"agrees with fp32, nothing is written: flags change on \d of 6") as caught:
        compile_int8(delicate, films, tmp_path / "fast", **LOOSE | {"flag_tolerance": 0.3}, recipes=(COARSE,))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_next_recipe_is_tried(delicate: Bundle, films: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    limits = LOOSE | {"flag_tolerance": 0.4}
    made = compile_int8(delicate, films, tmp_path / "fast", **limits, recipes=(COARSE, Recipe()), report=lines.append)
    assert made.variants[INT8]["tried"] == 2
    assert made.variants[INT8]["made"]["recipe"] == Recipe().as_dict()
    assert sum(line.startswith("quantizing") for line in lines) == 2


def test_auroc_that_falls_is_refused(delicate: Bundle, films: Path, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"AUROC of .* falls from"):
        compile_int8(delicate, films, tmp_path / "fast", **LOOSE | {"auroc_tolerance": 0.0}, recipes=(COARSE,))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(delicate: Bundle, films: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="exists: bundles are never changed"):
        compile_int8(delicate, films, tmp_path, flag_tolerance=1.0, threads=1)


def test_films_of_another_size(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"was prepared with size 48.*bundle tiny needs"):
        compile_int8(bundle, prepared(tmp_path, size=48), tmp_path / "out", flag_tolerance=1.0, threads=1)


def test_a_stricter_service_does_not_serve_it(compiled: Bundle, tmp_path: Path) -> None:
    share = compiled.variants[INT8]["val"]["share_with_other_flags"]
    open_engine(compiled, "onnxruntime-int8", flag_tolerance=share).close()
    strict = replace(compiled, variants={INT8: compiled.variants[INT8] | {"val": {"share_with_other_flags": 0.03}}})
    with pytest.raises(EngineError, match=r"flags of 3.00% of validation films, more than 2.00%"):
        open_engine(strict, "onnxruntime-int8", flag_tolerance=0.02)
    assert open_engine(strict, "auto", flag_tolerance=0.02).spec.precision == "fp32"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--films", "FILMS"], 2, "compile needs --out"),
        (["--films", "nowhere", "--out", "out"], 3, "no such folder or file: nowhere"),
        (["--films", ".", "--out", "out"], 1, "is not a prepared set"),
        (["--films", "FILMS", "--out", "FILMS"], 1, "exists: bundles are never changed"),
        (["--precision", "int4"], 2, "--precision is one of int8, fp16"),
    ],
)
def test_wrong_use_is_one_line(
    delicate: Bundle, films: Path, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    given = [str(films) if word == "FILMS" else word for word in words]
    done = typed("compile", str(delicate.path), *given, cwd=tmp_path)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_manifest_stays_json_that_reads_back(compiled: Bundle) -> None:
    assert bundles.load(compiled.path) == compiled
    assert json.loads((compiled.path / MANIFEST).read_text())["variants"] == compiled.variants
