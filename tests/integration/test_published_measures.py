"""What `xrayq evaluate` and `xrayq calibrate` publish stays the same to the byte, order of keys included.

A stand-in says the logits, so that no network's arithmetic is in it; of what is fitted four digits are compared.
Written anew like the documents of `test_published_json`, into tests/golden/measures.
"""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("sklearn")

from model import activation_map
from model.activation_map import FilmMaps, Lattice
from model.bundle import Bundle
from model.calibrating import faster_variants
from model.data.dataset import open_prepared
from model.engine import choose
from model.engine.base import EngineSpec
from model.findings import FINDINGS
from tests import golden
from tests.integration.test_published_json import PICTURE, STYLE
from tests.services import Xrayq, typed_in
from tests.still import no_pictures
from tests.unit.model.conftest import write_bundle
from tests.unit.model.films import prepare_films, rows_for, write_films
from tests.unit.model.prepared_set import rows

SIDE = 32
FITTED = re.compile(r"\d+\.\d{5,}(e-?\d+)?|\d+(\.\d+)?e-\d+")
LIMITS = {"flag_tolerance": 0.2, "auroc_tolerance": 0.2}
STUDY = {
    "study": "lr",
    "title": "Rates",
    "columns": ["rate", "accuracy"],
    "rows": [["1e-4", 0.61], ["1e-3", None]],
    "note": "A note.",
    "provenance": {"seed": 2020},
}


class StandIn:
    """An engine that knows each film of a prepared set, and is right about most."""

    def __init__(self, folder: Path, *, precision: str = "fp32", shift: float = 0.0) -> None:
        self.spec = EngineSpec(name=f"stand-in-{precision}", precision=precision, device="cpu", batches=(1,))
        films, _ = open_prepared(folder)
        random = np.random.default_rng(7)
        self._logits: dict[bytes, NDArray[np.float32]] = {}
        for number, film in enumerate(films.records):
            logits = np.round(random.normal(0, 1, len(FINDINGS)), 2)
            logits[FINDINGS.index(film.label)] += 2
            image = films.take(np.array([number]))[0]
            self._logits[_name(image)] = (logits + shift * np.arange(len(FINDINGS))).astype(np.float32)

    def warm_up(self) -> None:
        pass

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.stack([self._logits[_name(image)] for image in images])

    def close(self) -> None:
        pass


class Blind:
    """Activation maps of a network that looks at nothing."""

    def __init__(self, bundle: Bundle, *, threads: int) -> None:
        assert threads
        self._findings = bundle.findings

    def of(self, images: NDArray[np.uint8]) -> list[FilmMaps]:
        none = np.zeros((len(self._findings), 2, 2), np.float32)
        nowhere = Lattice(step=16.0, first=0.0, size=images.shape[2])
        return [
            FilmMaps(findings=self._findings, parts=none, bias=none[:, 0, 0], logits=none[:, 0, 0], lattice=nowhere)
            for _ in images
        ]


def _name(image: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()


def stand_in_bundle(folder: Path) -> Path:
    """Its networks are files that nobody opens; int8 stays within its limits, fp16 has none."""
    networks = {"model.int8.onnx": folder / "int8.onnx", "model.fp16.onnx": folder / "fp16.onnx"}
    for path in (folder / "fp32.onnx", *networks.values()):
        path.write_bytes(path.name.encode())
    int8 = {"file": "model.int8.onnx", "passed": True, "limits": LIMITS, "images_per_s": {"fp32": 5.2, "int8": 13.0}}
    variants = {"int8": int8, "fp16": {"file": "model.fp16.onnx", "passed": True}}
    return write_bundle(folder / "tiny", folder / "fp32.onnx", size=SIDE, files=networks, variants=variants).path


def table_of(path: Path, engine: StandIn, films: Path) -> Path:
    """A site's own films and logits."""
    known, _ = open_prepared(films)
    lines = ["label,patient_id," + ",".join(f"logit_{name}" for name in FINDINGS)]
    for number, film in enumerate(known.records):
        (logits,) = engine.infer(known.take(np.array([number])))
        lines.append(f"{film.label},{film.patient}," + ",".join(f"{one:.4f}" for one in logits))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def fitted(text: str) -> str:
    """Four digits of what has more: the last ones of exp() and log() differ between processors."""
    return FITTED.sub(lambda found: f"{float(found[0]):.4g}", text)


def page(path: Path) -> str:
    return STYLE.sub("<style></style>", PICTURE.sub('src="picture"', path.read_text(encoding="utf-8")))


def test_measures_are_published_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)
    monkeypatch.setattr(activation_map, "ActivationMaps", Blind)
    few, many = tmp_path / "few", tmp_path / "many"
    prepare_films(write_films(tmp_path / "raw-few", rows(), side=SIDE), few, size=SIDE, views=())
    prepare_films(write_films(tmp_path / "raw-many", rows_for({"train": 1, "val": 25, "test": 8}), side=SIDE), many)
    stand_in_bundle(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps(STUDY), encoding="utf-8")
    table_of(tmp_path / "site.csv", StandIn(many), many)

    def served(by: Path) -> Callable[..., StandIn]:
        return lambda *_, **__: StandIn(by)

    def variant(*_: Any, precision: str, **__: Any) -> StandIn:
        return StandIn(many, precision=precision, shift=0.25)

    monkeypatch.setattr(faster_variants, "OrtEngine", variant)
    with typed_in(tmp_path) as xrayq:
        monkeypatch.setattr(choose, "open_engine", served(few))
        documents = {"evaluate.json": said(xrayq, "evaluate tiny --films few --out report --study study.json")}
        monkeypatch.setattr(choose, "open_engine", served(many))
        documents["calibrate.json"] = said(xrayq, "calibrate tiny --films many --out new")
        documents["calibrate-table.json"] = said(xrayq, "calibrate tiny --labels site.csv --out site --coverage 0.8")
    evaluation, calibration = (
        (tmp_path / name).read_text(encoding="utf-8")
        for name in ("report/evaluation.json", "new-report/calibration.json")
    )
    told = json.loads(documents["evaluate.json"])
    assert told == json.loads(evaluation)
    assert documents["evaluate.json"] == json.dumps(told, indent=2) + "\n"
    documents["evaluate.json"] = json.dumps(told, indent=0) + "\n"  # a third of it was room at the left
    assert json.loads(calibration).items() <= json.loads(documents["calibrate.json"]).items()
    digests = {json.loads(evaluation)["data"]["digest"]: "DATA", json.loads(calibration)["data"]["digest"]: "DATA"}
    digests |= {json.loads(documents[name])["made"]: "MADE" for name in ("calibrate.json", "calibrate-table.json")}
    documents |= {
        "evaluation.json": evaluation,
        "calibration.json": calibration,
        "predictions.csv": (tmp_path / "report" / "predictions.csv").read_text(encoding="utf-8"),
        "evaluation.html": page(tmp_path / "report" / "report.html"),
        "calibration.html": page(tmp_path / "new-report" / "calibration.html"),
    }
    for name, text in documents.items():
        documents[name] = fitted(text)
        for digest, word in digests.items():
            documents[name] = documents[name].replace(digest, word).replace(digest[:12], word)
    golden.check("measures", documents)


def said(xrayq: Xrayq, words: str) -> str:
    code, out, error = xrayq(*words.split(), "--json")
    assert code == 0, error
    return out
