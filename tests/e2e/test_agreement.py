"""The same film through C-STORE as DICOM and through `xrayq evaluate` has the same probabilities by the same engine."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from pydicom import uid

from dicom_gateway.encode import in_syntax, save, wrap_image
from dicom_gateway.scu import send
from model.findings import FINDINGS
from tests.services import environment, free_port, listening, process, settings_of, typed_in, wait_until
from tests.unit.model.films import rows_for, write_films

pytestmark = pytest.mark.e2e

LOSSLESS = (uid.ExplicitVRLittleEndian, uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.HTJ2KLossless)
TOLERANCE = 1e-5
ON_CPU = {"fp32": "onnxruntime", "int8": "onnxruntime-int8"}
"""Engine by precision."""
REAL = {"train": 4, "val": 3, "test": 8}
"""Real films of each class: as many as evaluation needs, and those to send."""


@pytest.mark.slow
def test_phantoms_agree_in_fp32(tmp_path: Path) -> None:
    raw = write_films(tmp_path / "raw", rows_for({"train": 4, "val": 3, "test": 4}), side=300)
    assert_agreement(raw, tmp_path, films=12, engine="onnxruntime")


@pytest.mark.slow
def test_real_films_agree_in_the_default_engine(real_films: Path, tmp_path: Path) -> None:
    with (real_films / "metadata.csv").open(newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["view"] == "PA"]
    kept = [
        row
        for split, count in REAL.items()
        for label in FINDINGS
        for row in [row for row in rows if (row["split"], row["label"]) == (split, label)][:count]
    ]
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "images").symlink_to((real_films / kept[0]["file"]).parent.resolve())
    with (raw / "metadata.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0].keys())
        writer.writeheader()
        writer.writerows(kept)
    assert_agreement(raw, tmp_path, films=3 * REAL["test"])


def assert_agreement(raw: Path, folder: Path, *, films: int, engine: str = "auto") -> None:
    """Evaluate everything in `raw`, send its test films to `xrayq up`, and compare film by film."""
    pytest.importorskip("sklearn")
    pytest.importorskip("onnx")
    evaluated = evaluate(raw, folder, engine)
    measured = json.loads((folder / "report" / "evaluation.json").read_text())["engine"]
    if measured["device"] == "cpu":  # chosen by the clock, and on a busy machine perhaps another one next time
        engine = ON_CPU[measured["precision"]]
    sent = {}
    for number, name in enumerate(sorted(evaluated)):
        (picture,) = (raw / "images").glob(f"{name}.*")
        film = in_syntax(wrap_image(picture), LOSSLESS[number % len(LOSSLESS)])
        save(film, folder / f"{name}.dcm")
        sent[str(film.SOPInstanceUID)] = name
    served = serve([folder / f"{name}.dcm" for name in sent.values()], folder, engine)
    assert len(served) == len(evaluated) == films
    assert {one["engine"] for one in served} == {measured["name"]}
    differences = {
        name: max(abs(row["probabilities"][one] - evaluated[name][one]) for one in FINDINGS)
        for row in served
        for name in [sent[row["sop_instance_uid"]]]
    }
    worst = max(differences, key=lambda name: differences[name])
    print(f"largest difference over {films} films, {measured['name']}: {differences[worst]:.2e} ({worst})")
    assert differences[worst] <= TOLERANCE


def evaluate(raw: Path, folder: Path, engine: str) -> dict[str, dict[str, float]]:
    """What `xrayq evaluate` says of the test films: name -> finding -> probability."""
    run(folder, "prepare", str(raw), "--out", str(folder / "films"))
    run(folder, "evaluate", "--films", str(folder / "films"), "--out", str(folder / "report"), "--engine", engine)
    with (folder / "report" / "predictions.csv").open(newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["split"] == "test"]
    return {row["identifier"]: {one: float(row[f"p_{one}"]) for one in FINDINGS} for row in rows}


def serve(films: list[Path], folder: Path, engine: str) -> list[dict[str, Any]]:
    """What `xrayq instance list` says of films that come to `xrayq up` by C-STORE."""
    port = free_port()
    env = environment(home=str(folder / "home"), port=str(port), engine=engine)
    with process("up", env, folder / "up.log"):
        wait_until(lambda: listening(port), 30, "the gateway")
        answers = send("127.0.0.1", port, films, called_ae="XRAYQ", calling_ae="TEST")
        assert [one.status for one in answers] == [0] * len(films)

        def scored() -> list[dict[str, Any]]:
            listed = json.loads(run(folder, "instance", "list", "--limit", str(len(films)), "--json", env=env))
            return listed if all(one["state"] == "scored" for one in listed) else []

        return wait_until(scored, 90, "all to be scored")


def run(folder: Path, *words: str, env: dict[str, str] | None = None) -> str:
    with typed_in(folder, **settings_of(env or environment())) as xrayq:
        code, out, err = xrayq(*words)
    assert code == 0, err
    return out
