"""`xrayq calibrate`: a new bundle with the same network, measured on films it was not fitted on."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import bundle as bundles
from model.bundle import MANIFEST, MODEL, Bundle
from model.calibrating.calibrate import Calibrated, calibrate_on_films, calibrate_on_table
from model.calibrating.cross_fit import Wish, cross_fit, default_targets
from model.calibrating.fitting import FOLDS, folds
from model.calibrating.labelled_films import LabelledLogits, OperatingTarget, check, labelled, open_films, read_table
from model.calibrating.resplits import pool, resplit
from model.data.dataset import load_dataset
from model.engine.ort import OrtEngine
from model.errors import BundleError, DatasetError
from model.evaluation.evaluate import json_text
from model.findings import FINDINGS
from model.scorer import score
from model.study_table import read_study
from tests.services import typed
from tests.unit.model.films import prepare_films, rows_for, write_films
from worker.cli.calibrate import show as show_calibration
from worker.cli.console import PlainConsole

pytest.importorskip("onnx")

from model.pages.calibration_report import render, write
from tests.unit.model.tiny import tiny_bundle

WISH = Wish(targets=default_targets(FINDINGS))
VARIANT = {
    "file": "model.int8.onnx",
    "passed": True,
    "limits": {"flag_tolerance": 0.02, "auroc_tolerance": 0.005},
    "images_per_s": {"fp32": 5.2, "int8": 13.0},
}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 films of each finding in val, 8 in test, and one odd film of another view."""
    folder = tmp_path_factory.mktemp("films")
    rows = rows_for({"train": 1, "val": 25, "test": 8})
    rows[-1]["view"] = "AP"
    prepare_films(write_films(folder / "raw", rows, side=40), folder / "films", views=())
    return folder / "films"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A tiny network, with itself and another one as variants."""
    folder = tmp_path_factory.mktemp("tiny")
    plain, other = tiny_bundle(folder / "one"), tiny_bundle(folder / "two", seed=1)
    variants = {"int8": VARIANT, "fp16": VARIANT | {"file": "model.fp16.onnx"}}
    files = {"model.int8.onnx": plain.onnx, "model.fp16.onnx": other.onnx}
    return bundles.derive(plain, folder / "tiny", files=files, variants=variants, provenance={"views": ["PA"]})


@pytest.fixture(scope="module")
def made(bundle: Bundle, films: Path, tmp_path_factory: pytest.TempPathFactory) -> Calibrated:
    out = tmp_path_factory.mktemp("made") / "new"
    return calibrate_on_films(bundle, OrtEngine(bundle, threads=1), films, out, WISH)


@pytest.fixture(scope="module")
def val(bundle: Bundle, films: Path) -> LabelledLogits:
    return labelled("val", open_films(bundle, films)[0]["val"], OrtEngine(bundle, threads=1))


def test_the_subset_more_is_not_calibrated_on(bundle: Bundle, films: Path, tmp_path: Path) -> None:
    rows = [row | {"test_subset": "more", "patient_id": f"m{row['image_id']}"} for row in rows_for({"test": 2})]
    rows = [row | {"image_id": f"more-{row['image_id']}"} for row in rows]
    write_films(tmp_path / "more", rows, side=90)
    prepare_films([films.parent / "raw", tmp_path / "more"], tmp_path / "films", views=())
    found, _ = open_films(bundle, tmp_path / "films")
    before, _ = open_films(bundle, films)
    assert {name: part.identifiers for name, part in found.items()} == {
        name: part.identifiers for name, part in before.items()
    }


def write_table(path: Path, part: LabelledLogits, **changes: Any) -> Path:
    """A site's table of these films; a change is a column and what its row 3 says."""
    names = ["label", "patient_id", *(f"logit_{name}" for name in FINDINGS), *changes]
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(dict.fromkeys(names)))
        writer.writeheader()
        for row, (label, patient, logits) in enumerate(zip(part.labels, part.patients, part.logits, strict=True)):
            values = {f"logit_{name}": repr(float(one)) for name, one in zip(FINDINGS, logits, strict=True)}
            writer.writerow({"label": FINDINGS[label], "patient_id": patient} | values | (changes if row == 1 else {}))
    return path


def test_the_network_is_the_same_to_the_byte(bundle: Bundle, made: Calibrated) -> None:
    old, new = (json.loads((one.path / MANIFEST).read_text())["files"] for one in (bundle, made.bundle))
    assert new == {name: digest for name, digest in old.items() if name != "model.fp16.onnx"}
    assert made.bundle.onnx.read_bytes() == bundle.onnx.read_bytes()
    assert made.bundle.parent == bundle.digest
    assert bundles.load(bundle.path) == bundle
    assert bundles.load(made.bundle.path) == made.bundle


def test_what_it_says_of_a_film(made: Calibrated, films: Path) -> None:
    images = load_dataset(films).splits["test"].images
    for one in score(OrtEngine(made.bundle, threads=1), made.bundle, images):
        assert set(one.intervals) == set(FINDINGS)
        assert all(0 <= low < high <= 1 for low, high in one.intervals.values())
        assert one.prediction_set is not None
        assert set(one.prediction_set) <= set(FINDINGS)
        assert sum(one.probabilities.values()) == pytest.approx(1)


def test_points_sets_and_record(made: Calibrated, val: LabelledLogits, films: Path) -> None:
    new = made.bundle
    assert [one.id for one in new.operating_points] == ["pneumonia@sensitivity-0.95", "covid19@sensitivity-0.95"]
    assert all(one.sensitivity >= 0.95 and one.positives == 25 for one in new.operating_points)
    assert new.conformal is not None
    assert new.conformal.films == dict.fromkeys(FINDINGS, 25)
    chances = new.calibration.probabilities(val.logits)
    for index, name in enumerate(FINDINGS):  # ceil(26 x 0.9) = 24 of 25
        assert (chances[val.labels == index, index] >= new.conformal.limits[name]).sum() == 24
    digest = load_dataset(films).digest
    assert {"split": "val", "films": 75, "data_digest": digest}.items() <= new.calibration.record.items()
    assert new.provenance["calibrated"]["targets"] == [one.id for one in new.operating_points]
    assert (new.metrics["val"]["films"], new.metrics["test"]["films"]) == (75, 23)


def test_a_variant_stays_where_it_says_the_same(bundle: Bundle, made: Calibrated) -> None:
    assert set(made.bundle.variants) == {"int8"}
    record = made.bundle.variants["int8"]
    assert (record["val"]["films"], record["val"]["films_with_other_flags"], record["test"]["films"]) == (75, 0, 23)
    assert record["limits"] == VARIANT["limits"]
    found = made.content.variants
    assert (found["int8"].kept, found["fp16"].kept) == (True, False)
    assert any("of 75 films" in fault or "AUROC" in fault for fault in found["fp16"].faults)
    assert not (made.bundle.path / "model.fp16.onnx").exists()


def test_no_film_is_measured_by_what_was_fitted_on_it(val: LabelledLogits) -> None:
    """Two films of one patient change labels: that moves what is said of the other folds, and nothing in their own."""
    first, second = (int(np.flatnonzero(val.labels == label)[0]) for label in (0, 1))
    patients = tuple("both" if row in (first, second) else name for row, name in enumerate(val.patients))
    one = replace(val, patients=patients)
    labels = one.labels.copy()
    labels[[first, second]] = labels[[second, first]]
    other = replace(one, labels=labels)
    fold = folds(one.labels, patients, FOLDS, seed=0)
    assert (folds(labels, patients, FOLDS, seed=0) == fold).all()
    before, after = (cross_fit(part, FINDINGS, WISH) for part in (one, other))
    moved = np.abs(before.chances - after.chances).max(axis=1) > 0
    assert not moved[fold == fold[first]].any()
    assert moved[fold != fold[first]].any()
    assert np.allclose(before.chances.sum(axis=1), 1)


def test_the_same_bytes_again(bundle: Bundle, made: Calibrated, films: Path, tmp_path: Path) -> None:
    again = calibrate_on_films(bundle, OrtEngine(bundle, threads=1), films, tmp_path / "new", WISH)
    assert again.bundle.digest == made.bundle.digest
    for folder, one in ((tmp_path / "a", made), (tmp_path / "b", again)):
        write(one, folder)
    for name in ("calibration.json", "calibration.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert json.loads((tmp_path / "a" / "calibration.json").read_text())["made"] == made.bundle.digest


def test_the_page_needs_no_network_and_can_be_heard(made: Calibrated) -> None:
    page = render(made.content)
    assert page.count("<img") == page.count('alt="') == 3
    assert "http" not in page.replace("http://www.w3.org", "")
    assert page.count("Not a medical device") == 2
    for part in made.content.parts.values():
        assert f"{part.reliability['calibrated'].ece:.3f}" in page
    for point in made.content.operating_points:
        assert point.id in page


def test_a_table_gives_what_its_films_give(
    bundle: Bundle, made: Calibrated, val: LabelledLogits, tmp_path: Path
) -> None:
    site = calibrate_on_table(bundle, write_table(tmp_path / "site.csv", val), tmp_path / "new", WISH)
    assert replace(site.bundle.calibration, record={}) == replace(made.bundle.calibration, record={})
    assert [one.threshold for one in site.bundle.operating_points] == [
        one.threshold for one in made.bundle.operating_points
    ]
    assert site.bundle.variants == {}
    assert set(site.bundle.files) == {MODEL}
    assert "no films" in site.content.variants["int8"].faults[0]
    written = json_text(site.content) + render(site.content)
    assert not [name for name in val.patients if name in written]


def test_rows_of_other_splits_are_left_out(bundle: Bundle, val: LabelledLogits, tmp_path: Path) -> None:
    table = write_table(tmp_path / "site.csv", val, split="train", bundle=bundle.digest[:12])
    assert len(read_table(bundle, table)) == len(val) - 1


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"label": "tb"}, "line 3: label is not one of normal, pneumonia, covid19"),
    ({"logit_covid19": "nan"}, "line 3: logit_covid19 is not finite"),
    ({"logit_covid19": "inf"}, "line 3: logit_covid19 is not finite"),
    ({"logit_normal": "high"}, "line 3: logit_normal is not a number"),
    ({"bundle": "0123456789abcdef"}, "line 3: logits of bundle 0123456789ab, not of"),
]


@pytest.mark.parametrize(("changes", "said"), REFUSED, ids=[said[8:30] for _, said in REFUSED])
def test_a_wrong_table_is_refused_by_its_line(
    bundle: Bundle, val: LabelledLogits, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(DatasetError, match=said) as caught:
        calibrate_on_table(bundle, write_table(tmp_path / "site.csv", val, **changes), tmp_path / "new", WISH)
    assert "\n" not in str(caught.value)
    assert not any(patient in str(caught.value) for patient in val.patients)
    assert not (tmp_path / "new").exists()


def test_a_table_without_a_column_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "site.csv").write_text("label,logit_normal\nnormal,1\n")
    with pytest.raises(DatasetError, match="has no column logit_pneumonia, logit_covid19"):
        read_table(bundle, tmp_path / "site.csv")


def few(part: LabelledLogits, finding: int, count: int) -> LabelledLogits:
    own = np.flatnonzero(part.labels == finding)
    return part.take(np.sort(np.concatenate([np.flatnonzero(part.labels != finding), own[:count]])))


SHORT: list[tuple[Callable[[LabelledLogits], LabelledLogits], tuple[OperatingTarget, ...], float, str]] = [
    (lambda part: few(part, 2, 19), (), 0.9, "val has 19 films of covid19: calibration needs 20 of each finding"),
    (lambda part: part, (), 0.98, "val has 25 films of normal: calibration needs 49 of each"),
    (
        lambda part: part,
        (OperatingTarget(finding="covid19", rate="sensitivity", value=0.99),),
        0.9,
        "val has 25 films of covid19: sensitivity 0.99 needs 100",
    ),
    (
        lambda part: part,
        (OperatingTarget(finding="covid19", rate="specificity", value=0.99),),
        0.9,
        "val has 50 films without covid19: specificity 0.99 needs 100",
    ),
    (
        lambda part: replace(part, logits=np.where(part.labels[:, None] == 1, np.inf, part.logits)),
        (),
        0.9,
        "25 films have non-finite logits",
    ),
]


@pytest.mark.parametrize(("change", "targets", "coverage", "said"), SHORT, ids=[one[3] for one in SHORT])
def test_too_little_is_refused_with_what_is_needed(
    val: LabelledLogits,
    change: Callable[[LabelledLogits], LabelledLogits],
    targets: tuple[OperatingTarget, ...],
    coverage: float,
    said: str,
) -> None:
    check(val, FINDINGS, WISH.targets, WISH.coverage)
    with pytest.raises(DatasetError, match=said):
        check(change(val), FINDINGS, targets, coverage)


def test_films_of_another_preprocessing(bundle: Bundle, films: Path, tmp_path: Path) -> None:
    other = replace(bundle, preprocess=replace(bundle.preprocess, stretch_high=98.0))
    with pytest.raises(DatasetError, match=r"was prepared with .*bundle tiny needs .*: run 'xrayq prepare'"):
        calibrate_on_films(other, OrtEngine(bundle, threads=1), films, tmp_path / "new", WISH)


def test_an_existing_bundle_is_left_alone(bundle: Bundle, films: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="exists: bundles are never changed"):
        calibrate_on_films(bundle, OrtEngine(bundle, threads=1), films, tmp_path, WISH)


def test_resplits_count_what_their_rows_show(val: LabelledLogits, tmp_path: Path) -> None:
    study = resplit(pool([val, val]), FINDINGS, WISH, count=3)
    assert study == resplit(pool([val, val]), FINDINGS, WISH, count=3)
    (tmp_path / "study.json").write_text(json.dumps(study.as_dict()))
    shown = read_study(tmp_path / "study.json")
    assert len(shown.rows) == 3 + 2
    found, kept = study.resplits, study.summary.kept
    assert kept["ece"] == sum(one.score("ece_after") < one.score("ece_before") for one in found)
    assert kept["coverage"] == sum(one.binomial95[0] <= one.coverage <= one.binomial95[1] for one in found)
    assert sum("*" in str(row[10]) for row in shown.rows[:3]) == 3 - kept["coverage"]
    assert all(one.fitted_on + one.films == 150 for one in found)


def test_the_command(bundle: Bundle, films: Path, tmp_path: Path) -> None:
    done = typed(
        *("calibrate", str(bundle.path), "--films", str(films), "--out", "new", "--json"),
        *("--specificity", "pneumonia=0.8", "--coverage", "0.8"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    content, new = json.loads(done.stdout), bundles.load(tmp_path / "new")
    assert (content["made"], content["path"], content["report"]) == (new.digest, "new", "new-report")
    assert [one.id for one in new.operating_points] == ["pneumonia@specificity-0.8", "covid19@sensitivity-0.95"]
    assert new.conformal is not None
    assert new.conformal.coverage == 0.8
    assert sorted(one.name for one in (tmp_path / "new-report").iterdir()) == ["calibration.html", "calibration.json"]
    assert "fp16 is left out" in done.stderr
    pneumonia = OperatingTarget(finding="pneumonia", rate="specificity", value=0.8)
    wish = Wish(targets=(pneumonia, *WISH.targets[1:]), coverage=0.8)
    again = calibrate_on_films(bundle, OrtEngine(bundle, threads=1), films, tmp_path / "again", wish).content
    assert json.loads(json_text(again)).items() <= content.items()
    for width in (60, 80, 100, 132):
        printed = PlainConsole(width=width, file=StringIO())
        show_calibration(printed, again, Path("new"), Path("new-report"))
        text = printed.file.getvalue()
        assert "…" not in text
        for value in ("operating point", "pneumonia@specificity-0.8", "error by finding", "covid19", "abstentions"):
            assert value in text, (width, text)
    shown = typed("bundle", "show", str(tmp_path / "new"))
    assert shown.returncode == 0, shown.stderr


def test_the_study_command(bundle: Bundle, films: Path, tmp_path: Path) -> None:
    words = ("study", "calibration", str(bundle.path), "--films", str(films), "--on", "val", "--resplits", "2")
    done = typed(*words, "--out", "study.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_study(tmp_path / "study.json").provenance["resplits"] == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "needs --films FOLDER or --labels CSV"),
        (["--films", "nowhere"], 3, "no such folder or file: nowhere"),
        (["--films", "FILMS", "--sensitivity", "covid19"], 2, "write it as covid19=0.95"),
        (["--films", "FILMS", "--sensitivity", "tb=0.9"], 2, "findings are normal, pneumonia, covid19"),
        (["--films", "FILMS", "--sensitivity", "covid19=0.99", "--out", "new"], 1, "sensitivity 0.99 needs 100"),
    ],
)
def test_wrong_use_is_one_line(
    bundle: Bundle, films: Path, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    given = [str(films) if word == "FILMS" else word for word in words]
    done = typed("calibrate", str(bundle.path), *given, cwd=tmp_path)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
