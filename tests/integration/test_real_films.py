"""Real labelled radiographs: what serving says of a film sent as DICOM is what training saw of its picture."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import uid

from dicom_gateway.encode import in_syntax, save, wrap_image
from model import bundle as bundles
from model.data.dataset import load_dataset
from model.data.prepare import prepare
from model.data.raw_films import image_to_input, read_image
from model.engine.ort import OrtEngine
from model.findings import FINDINGS
from model.pages.card import EVALUATION
from model.scorer import score
from worker.scoring.decoding import decode_film

FILMS = 12
SYNTAXES = (uid.ExplicitVRLittleEndian, uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.HTJ2KLossless)


def test_dicom_and_picture_give_the_same_input(real_films: Path, tmp_path: Path) -> None:
    spec = bundles.load(bundles.REFERENCE).preprocess
    with (real_films / "metadata.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["split"] == "test" and row["view"] == "PA"][:FILMS]
    assert len(rows) == FILMS
    for number, row in enumerate(rows):
        picture = real_films / row["file"]
        film = save(in_syntax(wrap_image(picture), SYNTAXES[number % len(SYNTAXES)]), tmp_path / "film.dcm")
        decoded = decode_film(str(film), spec, 10_000_000)
        assert decoded.image is not None, decoded.reason
        assert np.array_equal(decoded.image, image_to_input(picture.read_bytes(), row["image_id"], spec))


@pytest.mark.slow
def test_the_bundle_still_measures_what_its_manifest_and_evaluation_say(real_films: Path, tmp_path: Path) -> None:
    """Accuracy on the test split, recomputed from the films. A film on the border may fall to the other side on another
    processor."""
    bundle, evaluation = bundles.load(bundles.REFERENCE), json.loads(EVALUATION.read_text(encoding="utf-8"))
    views = tuple(bundle.provenance["views"])
    prepare([real_films], tmp_path / "films", spec=bundle.preprocess, read=read_image, views=views)
    test = load_dataset(tmp_path / "films", views=views).splits["test"]
    assert len(test) == bundle.metrics["test"]["films"]
    measured = {
        "fp32": bundle.metrics["test"],
        evaluation["engine"]["precision"]: evaluation["parts"]["test"]["summary"],
    }
    for precision, said in measured.items():
        engine = OrtEngine(bundle, threads=2, precision=precision)
        scores = [one for at in range(0, len(test), 16) for one in score(engine, bundle, test.images[at : at + 16])]
        called = [FINDINGS.index(max(one.probabilities, key=lambda name: one.probabilities[name])) for one in scores]
        confusion = np.zeros((3, 3), int)
        np.add.at(confusion, (test.labels, np.array(called)), 1)
        assert confusion.trace() / len(test) == pytest.approx(said["accuracy"]["value"], abs=0.01)
        assert np.abs(confusion - np.array(said["confusion"])).sum() <= 2


@pytest.mark.parametrize("name", ["cx99fc2e017e.jpg", "cxba2fef9611.png"])
def test_lower_resolution_does_not_change_what_is_said(real_films: Path, tmp_path: Path, name: str) -> None:
    """Films in their original size, as JPEG 2000: the same flags, and probabilities within .01."""
    picture = real_films.parent / "native" / name
    if not picture.is_file():
        pytest.skip(f"{picture} is missing: films in their original size are not here")
    bundle = bundles.load(bundles.REFERENCE)
    path = str(save(in_syntax(wrap_image(picture), uid.JPEG2000Lossless), tmp_path / "film.dcm"))
    full = decode_film(path, bundle.preprocess, 64 << 20)
    reduced = decode_film(path, bundle.preprocess, 64 << 20, bundle.preprocess.least_side)
    assert full.image is not None
    assert reduced.image is not None
    assert not np.array_equal(full.image, reduced.image)
    one, other = score(OrtEngine(bundle, threads=2), bundle, np.stack([full.image, reduced.image])[:, None])
    assert one.flags == other.flags
    for finding in FINDINGS:
        assert other.probabilities[finding] == pytest.approx(one.probabilities[finding], abs=0.01)
