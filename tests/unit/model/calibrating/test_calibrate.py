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
from model.calibrating.calibrate import calibrate_on_films, calibrate_on_table, derived_version
from model.calibrating.calibration_content import Calibrated
from model.calibrating.cross_fit import Wish, cross_fit
from model.calibrating.fitting import FOLDS, folds
from model.calibrating.labelled_films import (
    LabelledLogits,
    check,
    check_finite,
    labelled,
    open_films,
    read_table,
)
from model.calibrating.resplits import pool, resplit
from model.data.bundle_films import logits_of
from model.data.dataset import load_dataset
from model.engine.ort import OrtEngine
from model.errors import BundleError, DatasetError, ParityError
from model.evaluation.evaluate import json_text
from model.findings import FINDINGS, NOT_NORMAL
from model.scorer import score
from model.stats.agreement import compare
from model.stats.operating_points import PREVALENCES, predictive_values
from model.stats.thresholds import OperatingTarget, default_targets
from model.study_table import read_study
from tests.services import typed
from tests.unit.model.films import prepare_films, rows_for, write_films
from worker.cli.calibrate_view import show as show_calibration
from worker.cli.console import PlainConsole

pytest.importorskip("onnx")

from model.int8.compile import int8_variant
from model.pages.calibration_report import render, write
from model.pages.texts import point_text, promise_text
from tests.unit.model.tiny import deep_network, tiny_bundle

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
        assert set(one.intervals) == {NOT_NORMAL, *FINDINGS}
        assert all(0 <= low < high <= 1 for low, high in one.intervals.values())
        assert one.prediction_set is not None
        assert set(one.prediction_set) <= set(FINDINGS)
        assert sum(one.probabilities.values()) == pytest.approx(1)
        assert one.composite is not None
        assert one.composite.probability == pytest.approx(1 - one.probabilities["normal"])
        assert list(one.stated) == [NOT_NORMAL, *FINDINGS]


def test_points_sets_and_record(made: Calibrated, val: LabelledLogits, films: Path) -> None:
    new = made.bundle
    names = ["not_normal@specificity-0.9", "pneumonia@specificity-0.95", "covid19@specificity-0.95"]
    assert [one.id for one in new.operating_points] == names
    for one, negatives in zip(new.operating_points, (25, 50, 50), strict=True):
        rate = one.specificity
        assert (one.negatives, one.patients, rate >= (one.target_value or 1)) == (negatives, negatives, True)
        assert one.met is False  # 29 and 59 patients are the fewest
    assert "negatives: 25 normal, 25 covid19" in new.operating_points[1].chosen_on
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
    (
        lambda part: few(part, 2, 19),
        (),
        0.9,
        "val has too few films .*: normal 25 / 20, pneumonia 25 / 20, covid19 19 / 20",
    ),
    (lambda part: part, (), 0.98, "normal 25 / 49, pneumonia 25 / 49, covid19 25 / 49"),
    (
        lambda part: part,
        (OperatingTarget(finding="covid19", rate="sensitivity", value=0.99),),
        0.9,
        "covid19 25 / 20, covid19 for sensitivity 0.99 25 / 100",
    ),
    (
        lambda part: part,
        (OperatingTarget(finding="covid19", rate="specificity", value=0.99),),
        0.9,
        "without covid19 for specificity 0.99 50 / 100",
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
    check("val", val.labels, val.patients, FINDINGS, WISH.targets, WISH.coverage)
    part = change(val)
    with pytest.raises(DatasetError, match=said):
        check("val", part.labels, part.patients, FINDINGS, targets, coverage)


def test_few_patients_are_refused_before_fitting(val: LabelledLogits) -> None:
    """However many films they have: each fold leaves patients out."""
    ours = tuple("one" if label == 1 else patient for label, patient in zip(val.labels, val.patients, strict=True))
    with pytest.raises(DatasetError, match=r"too few patients.*pneumonia 1 / 5"):
        check("val", val.labels, ours, FINDINGS, WISH.targets, WISH.coverage)


def test_a_row_that_repeats_an_earlier_one_counts_once(bundle: Bundle, val: LabelledLogits, tmp_path: Path) -> None:
    """A film that was sent again. Were copies patients, ten of each film would keep any promise."""
    table = write_table(tmp_path / "site.csv", val)
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join([*lines, lines[3].replace(val.patients[2], "another")]))
    once = read_table(bundle, table)
    assert (len(once), once.repeated, once.patients) == (len(val), 1, val.patients)


def test_films_without_a_patient_are_counted_and_said(bundle: Bundle, val: LabelledLogits, tmp_path: Path) -> None:
    table = write_table(tmp_path / "site.csv", replace(val, patients=("",) * 10 + val.patients[10:]))
    said: list[str] = []
    made = calibrate_on_table(bundle, table, tmp_path / "new", WISH, report=said.append)
    note = "10 films name no patient and are counted as a patient each"
    assert any(note in line for line in said)
    assert note in render(made.content)
    assert made.bundle.provenance["calibrated"]["films_as_patients"] == 10


def test_a_logit_too_large_for_float32_names_its_line(bundle: Bundle, val: LabelledLogits, tmp_path: Path) -> None:
    table = write_table(tmp_path / "site.csv", val, logit_covid19="1e300")
    with pytest.raises(DatasetError, match="line 3: logit_covid19 is too large for float32"):
        read_table(bundle, table)


def test_a_flag_that_tells_nothing_is_said_to(made: Calibrated) -> None:
    point = made.bundle.operating_points[1]
    useless = replace(point, sensitivity=0.0, specificity=0.9)
    assert "tells nothing" in promise_text(useless)
    assert "tells nothing" in point_text(useless)
    for text in (promise_text, point_text):
        assert "tells nothing" not in text(replace(point, sensitivity=0.9, specificity=0.9))


def test_logits_that_are_not_finite_are_refused(val: LabelledLogits) -> None:
    check_finite(val)
    with pytest.raises(DatasetError, match="25 films have non-finite logits"):
        check_finite(replace(val, logits=np.where(val.labels[:, None] == 1, np.inf, val.logits)))


def test_too_few_films_are_refused_before_one_is_scored(bundle: Bundle, films: Path, tmp_path: Path) -> None:
    class Idle(OrtEngine):
        def infer(self, images: Any) -> Any:
            raise AssertionError("a film was scored")

    wish = replace(WISH, coverage=0.98)
    with pytest.raises(DatasetError, match="has too few films"):
        calibrate_on_films(bundle, Idle(bundle, threads=1), films, tmp_path / "new", wish)


def test_other_contents_have_another_version(bundle: Bundle, made: Calibrated) -> None:
    new, digest = made.bundle, made.content.data.digest
    assert new.version == derived_version(bundle, digest, WISH)
    assert new.version.startswith(f"{bundle.version}+cal.")
    again = derived_version(new, digest, WISH)
    others = {
        new.version,
        again,
        derived_version(bundle, "0" * 64, WISH),
        derived_version(bundle, digest, replace(WISH, coverage=0.8)),
        derived_version(bundle, digest, replace(WISH, prevalence=SITE)),
    }
    assert len(others) == 5
    assert again.count("+") == 1
    assert (made.content.name, made.content.version) == (new.name, new.version)
    assert made.content.bundle.version == bundle.version


def test_a_name_and_a_version_are_taken(bundle: Bundle, val: LabelledLogits, tmp_path: Path) -> None:
    table = write_table(tmp_path / "site.csv", val)
    made = calibrate_on_table(bundle, table, tmp_path / "new", WISH, name="site", version="1.0")
    assert (made.bundle.name, made.bundle.version) == ("site", "1.0")
    assert made.bundle.provenance["calibrated"]["from_version"] == bundle.version


SITE = {"normal": 0.9, "pneumonia": 0.08, "covid19": 0.02}


def test_a_sites_prevalence_changes_probabilities_and_no_flag(
    bundle: Bundle, made: Calibrated, val: LabelledLogits, films: Path, tmp_path: Path
) -> None:
    site = calibrate_on_films(
        bundle, OrtEngine(bundle, threads=1), films, tmp_path / "new", replace(WISH, prevalence=SITE)
    )
    shift = site.bundle.calibration.prior_shift
    assert shift is not None
    assert shift.films == {name: pytest.approx(1 / 3) for name in FINDINGS}
    assert shift.site == SITE
    assert site.bundle.operating_points == made.bundle.operating_points
    assert site.content.parts == made.content.parts
    assert site.bundle.metrics == made.bundle.metrics
    images, engine = load_dataset(films).splits["val"].images, OrtEngine(bundle, threads=1)
    before, after = (score(engine, own.bundle, images) for own in (made, site))
    assert [film.flags for film in after] == [film.flags for film in before]
    assert {film.flags for film in after} > {()}
    assert [film.prediction_set for film in after] == [film.prediction_set for film in before]
    for film in after:
        assert sum(film.probabilities.values()) == pytest.approx(1)
        for name, (_, chance) in film.stated.items():
            low, high = film.intervals[name]
            assert 0 <= low < high <= 1
            if name in film.thresholds:
                assert (chance >= film.thresholds[name]) == (name in film.flags)
    mean, was = (np.mean([film.probabilities["normal"] for film in own]) for own in (after, before))
    assert mean > was + 0.3
    assert "at prevalences normal 0.9, pneumonia 0.08, covid19 0.02" in render(site.content)
    assert bundles.load(site.bundle.path) == site.bundle


def test_a_variant_beyond_its_limits_is_made_anew(bundle: Bundle, films: Path, tmp_path: Path) -> None:
    other = bundles.derive(
        bundle,
        tmp_path / "old",
        files={"model.int8.onnx": bundle.path / "model.fp16.onnx"},
        variants={"int8": VARIANT},
    )
    record = VARIANT | {"made": "anew"}

    def remake(changed: Bundle, scratch: Path) -> dict[str, Any]:
        assert changed.operating_points[0].finding == NOT_NORMAL
        (scratch / "model.int8.onnx").write_bytes(bundle.onnx.read_bytes())
        return record

    engine = OrtEngine(other, threads=1)
    new = calibrate_on_films(other, engine, films, tmp_path / "new", WISH, remake=remake)
    judged = new.content.variants["int8"]
    assert (judged.kept, judged.remade) == (False, True)
    assert new.bundle.variants == {"int8": record}
    assert new.bundle.variant("int8").read_bytes() == bundle.onnx.read_bytes()
    assert "made anew" in render(new.content)

    def cannot(changed: Bundle, scratch: Path) -> dict[str, Any]:
        raise ParityError("no int8 agrees")

    left = calibrate_on_films(other, engine, films, tmp_path / "left", WISH, remake=cannot)
    assert left.bundle.variants == {}
    assert left.content.variants["int8"].faults[-1] == "no int8 agrees"


def test_int8_made_anew_is_measured_under_the_new_calibration(films: Path, tmp_path: Path) -> None:
    """A real one: quantized on the training films, its figures those of the bundle that it stands in."""
    plain = tiny_bundle(tmp_path / "deep", seed=2, network=deep_network)
    wrong = tiny_bundle(tmp_path / "wrong", seed=3, network=deep_network)
    old = bundles.derive(
        plain,
        tmp_path / "old",
        files={"model.int8.onnx": wrong.onnx},
        variants={"int8": VARIANT | {"val": {"films": 0}}},
        provenance={"views": ["PA"]},
    )

    def remake(changed: Bundle, scratch: Path) -> dict[str, Any]:
        limits = {"flag_tolerance": 1.0, "auroc_tolerance": 1.0}
        return int8_variant(changed, films, scratch, **limits, threads=1, calibration_films=3).as_dict()

    new = calibrate_on_films(old, OrtEngine(old, threads=1), films, tmp_path / "new", WISH, remake=remake).bundle
    record = new.variants["int8"]
    assert new.variant("int8").read_bytes() != wrong.onnx.read_bytes()
    assert (record["passed"], record["made"]["split"], record["made"]["films"]) == (True, "train", 3)
    engines = OrtEngine(new, threads=1), OrtEngine(new, threads=1, precision="int8")
    before = replace(new, calibration=old.calibration, operating_points=old.operating_points)
    for split in ("val", "test"):
        part = load_dataset(films).splits[split]
        logits = [logits_of(engine, part) for engine in engines]
        of_new, of_old = (compare(one, *logits, part.labels).as_dict() for one in (new, before))
        assert record[split] == json.loads(json.dumps(of_new)) != json.loads(json.dumps(of_old))


def test_the_page_shows_what_a_flag_means(made: Calibrated) -> None:
    page = render(made.content)
    assert "NOT MET" in page
    flag = made.content.parts["test"].flags["not_normal@specificity-0.9"]
    for prevalence in PREVALENCES:
        assert f"{predictive_values(flag, prevalence).ppv.value:.3f}" in page


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
    assert sum("*" in str(row[11]) for row in shown.rows[:3]) == 3 - kept["coverage"]
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
    assert [one.id for one in new.operating_points] == [
        "not_normal@specificity-0.9",
        "pneumonia@specificity-0.8",
        "covid19@specificity-0.95",
    ]
    assert new.conformal is not None
    assert new.conformal.coverage == 0.8
    assert sorted(one.name for one in (tmp_path / "new-report").iterdir()) == ["calibration.html", "calibration.json"]
    assert "fp16 is left out" in done.stderr
    pneumonia = OperatingTarget(finding="pneumonia", rate="specificity", value=0.8)
    wish = Wish(targets=(WISH.targets[0], pneumonia, WISH.targets[2]), coverage=0.8)
    again = calibrate_on_films(bundle, OrtEngine(bundle, threads=1), films, tmp_path / "again", wish).content
    assert json.loads(json_text(again)).items() <= content.items()
    for width in (60, 80, 100, 132):
        printed = PlainConsole(width=width, file=StringIO())
        show_calibration(printed, again, Path("new"), Path("new-report"))
        text = printed.file.getvalue()
        assert "…" not in text
        for value in (
            "flag not normal",
            "NOT MET",
            "it takes 29 or more",
            "PPV",
            "pneumonia@specificity-0.8",
            "error by finding",
            "covid19",
            "unsure",
        ):
            assert value in " ".join(text.split()), (width, text)
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
        (["--labels", "site.csv", "--engine", "onnxruntime"], 2, "--engine says what scores the films of --films"),
        (["--films", "FILMS", "--report", "FILMS/films.csv"], 1, "films.csv is not a folder"),
        (["--films", "FILMS", "--sensitivity", "covid19"], 2, "write it as covid19=0.95"),
        (["--films", "FILMS", "--sensitivity", "tb=0.9"], 2, "findings are not_normal, normal, pneumonia, covid19"),
        (["--films", "FILMS", "--sensitivity", "covid19=0.99", "--out", "new"], 1, "sensitivity 0.99 25 / 100"),
        (["--films", "FILMS", "--prevalence", "normal=0.9"], 2, "so that they sum to 1"),
        (["--films", "FILMS", "--prevalence", "normal=0.9,tb=0.1"], 2, "give each of normal, pneumonia, covid19 once"),
        (["--films", "FILMS", "--version", "0", "--out", "new"], 1, "as the old one: give another version"),
    ],
)
def test_wrong_use_is_one_line(
    bundle: Bundle, films: Path, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    given = [word.replace("FILMS", str(films)) for word in words]
    done = typed("calibrate", str(bundle.path), *given, cwd=tmp_path)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
