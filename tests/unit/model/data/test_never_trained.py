"""Films to measure on that no training saw: whose they are, and what is refused."""

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.bundle import Bundle
from model.calibration import Calibration
from model.data.auxiliary import is_held_out
from model.data.dataset import Films, open_prepared
from model.data.never_trained import held_out_films, unseen_films
from model.data.raw_films import read_image
from model.errors import DatasetError
from model.findings import FINDINGS
from model.preprocess import PreprocessSpec, to_input
from tests.unit.model.data.test_auxiliary import write_shard
from tests.unit.model.films import class_pixels, prepare_films, rows_for, write_films

SHARE = 0.5
READ = {"Normal": "normal", "Lung Opacity": "pneumonia", "No Lung Opacity / Not Normal": ""}
TRUNK = {"films": 100, "held_out": SHARE, "labels": ["nih:Mass", "rsna:Normal"]}
HELD_OUT = [f"p{number}" for number in range(40) if is_held_out(f"p{number}", SHARE)]
OTHERS = [f"p{number}" for number in range(40) if not is_held_out(f"p{number}", SHARE)]


def set_of(folder: Path, rows: list[dict[str, str]]) -> Path:
    """An auxiliary set of one shard; each row is named by its image_id."""
    folder.mkdir()
    names = ("image_id", "shard", "file", "source", "labels", "patient_id", "rsna_class", "age", "sex", "view")
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, names, restval="")
        writer.writeheader()
        writer.writerows({"shard": "one.tar", "file": f"{row['image_id']}.png", "source": "nih"} | row for row in rows)
    files = {
        f"{row['image_id']}.png": cv2.imencode(".png", class_pixels("normal", seed))[1].tobytes()
        for seed, row in enumerate(rows)
    }
    write_shard(folder, files)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def read_films(patients: list[str], reading: str = "Normal", **cells: str) -> list[dict[str, str]]:
    return [{"image_id": f"film-{name}", "patient_id": name, "rsna_class": reading} | cells for name in patients]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Films:
    """One film of each class in each split; the normal one of train is of a held-out patient of the auxiliary sets."""
    folder = tmp_path_factory.mktemp("films")
    rows = [row | {"source": "nih"} for row in rows_for({"train": 1, "val": 1, "test": 1})]
    for row in rows:
        row["patient_id"] = {
            "train-normal-0": HELD_OUT[0],
            "val-normal-0": HELD_OUT[1],
            "test-normal-0": HELD_OUT[2],
        }.get(row["image_id"], row["patient_id"])
    prepare_films(write_films(folder / "raw", rows), folder / "films")
    return open_prepared(folder / "films")[0]


@pytest.fixture
def tiny() -> Bundle:
    """No network: nothing is scored here."""
    return Bundle(
        name="tiny",
        version="0",
        findings=FINDINGS,
        preprocess=PreprocessSpec(size=32),
        calibration=Calibration(temperature=1.0),
        operating_points=(),
        metrics={},
        provenance={},
    )


@pytest.fixture
def trained(tiny: Bundle) -> Bundle:
    """Its trunk held a half of the auxiliary patients out."""
    return replace(tiny, provenance={"pretraining": TRUNK})


def test_films_of_patients_held_out_and_of_nobody_prepared(trained: Bundle, prepared: Films, tmp_path: Path) -> None:
    """Of patients of train, val and test none; no child, and none without a reading or a patient."""
    rows = read_films([*HELD_OUT[:7], *OTHERS[:6]], age="40", sex="F", view="PA")
    rows[3]["age"], rows[4]["age"] = "040Y", "017Y"
    rows[5]["rsna_class"] = ""
    rows += [{"image_id": "nobody", "rsna_class": "Normal"}]
    found = held_out_films(trained, [set_of(tmp_path / "aux", rows)], prepared)
    assert list(found.patients) == sorted([HELD_OUT[3], HELD_OUT[6]])
    assert {(film.label, film.age, film.sex, film.view, film.part) for film in found.records} == {
        ("normal", 40.0, "F", "PA", "auxiliary")
    }


@pytest.mark.parametrize(("reading", "label"), READ.items())
def test_a_reading_is_a_label_where_it_is_a_finding(
    reading: str, label: str, trained: Bundle, prepared: Films, tmp_path: Path
) -> None:
    found = held_out_films(trained, [set_of(tmp_path / "aux", read_films(HELD_OUT[4:6], reading))], prepared)
    assert [(film.label, film.reading) for film in found.records] == [(label, reading)] * 2
    other = replace(trained, findings=("clear", "mass"))
    assert {film.label for film in held_out_films(other, [tmp_path / "aux"], prepared).records} == {""}


def test_they_are_prepared_as_served(trained: Bundle, prepared: Films, tmp_path: Path) -> None:
    folder = set_of(tmp_path / "aux", read_films(HELD_OUT[4:8]))
    found = held_out_films(trained, [folder], prepared)
    for film, image in zip(found.records, found.images, strict=True):
        raw = read_image(folder / f"{film.identifier}.png")
        assert np.array_equal(image[0], to_input(raw.pixels, low=raw.low, high=raw.high, spec=trained.preprocess))


def test_a_training_that_held_nothing_out_is_refused(tiny: Bundle, prepared: Films, tmp_path: Path) -> None:
    folder = set_of(tmp_path / "aux", read_films(HELD_OUT[4:6]))
    with pytest.raises(DatasetError, match="may have seen any of these films"):
        held_out_films(replace(tiny, provenance={"pretraining": {"films": 5}}), [folder], prepared)


def test_no_such_film_is_said(trained: Bundle, prepared: Films, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="of a patient held out"):
        held_out_films(trained, [set_of(tmp_path / "aux", read_films(OTHERS[:4]))], prepared)


def test_normal_films_of_a_source_never_trained_on(trained: Bundle, prepared: Films, tmp_path: Path) -> None:
    """Each film is a patient where the set does not say."""
    rows = [{"image_id": f"o{n}", "source": "openist", "labels": "normal; old"} for n in range(3)]
    folder = set_of(tmp_path / "aux", [*rows, {"image_id": "sick", "source": "openist", "labels": "mass"}])
    found = unseen_films(trained, [(folder, "openist:normal")] * 2, prepared)
    assert list(found.identifiers) == ["o0", "o1", "o2"]
    assert len(set(found.patients)) == 3
    assert {(film.label, film.part) for film in found.records} == {("normal", "unseen")}
    with pytest.raises(DatasetError, match=r"no film of .* has the label openist:nothing"):
        unseen_films(trained, [(folder, "openist:nothing")], prepared)


def test_a_source_that_a_training_had_is_refused(tiny: Bundle, prepared: Films, tmp_path: Path) -> None:
    """What is asked of a bundle's record: test_seen_films.py."""
    folder = set_of(tmp_path / "aux", [{"image_id": "o", "source": "openist", "labels": "normal"}])
    seen = replace(tiny, provenance={"pretraining": TRUNK | {"labels": ["openist:normal"]}})
    with pytest.raises(DatasetError, match="had films of openist, they are not unseen"):
        unseen_films(seen, [(folder, "openist:normal")], prepared)


def test_films_with_a_reading_may_have_taught_a_bundle_that_does_not_say(
    trained: Bundle, prepared: Films, tmp_path: Path
) -> None:
    """An earlier release's: of auxiliary films those with a reading taught, of sources that it did not record."""
    rows = [{"image_id": "o", "source": "openist", "labels": "normal"}]
    places = [(set_of(tmp_path / "aux", rows), "openist:normal")]
    earlier = replace(trained, provenance=trained.provenance | {"auxiliary_digest": "a"})
    assert len(unseen_films(earlier, places, prepared)) == 1
    read = [(set_of(tmp_path / "read", [*rows, rows[0] | {"image_id": "r", "rsna_class": "Normal"}]), "openist:normal")]
    with pytest.raises(DatasetError, match="does not say of which sources its auxiliary films were"):
        unseen_films(earlier, read, prepared)
    says = replace(earlier, provenance=earlier.provenance | {"sources": ["nih"]})
    assert len(unseen_films(says, read, prepared)) == 2
