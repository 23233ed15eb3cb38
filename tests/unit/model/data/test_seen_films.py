"""What a bundle's record says of the films behind its network: its own, its trunk's and its teachers'."""

from pathlib import Path
from typing import Any

import pytest

from model.bundle import Bundle
from model.calibration import Calibration
from model.data.auxiliary import load_auxiliary
from model.data.dataset import Films, load_dataset
from model.data.seen_films import held_out_share, refuse_seen, seen_sources, sources_of
from model.errors import DatasetError
from model.findings import FINDINGS
from model.preprocess import PreprocessSpec
from tests.unit.model.data.test_never_trained import TRUNK, set_of
from tests.unit.model.films import prepare_films, prepared, rows_for, write_films

FILE = "file, sha256 0"
RANDOM: dict[str, Any] = {"initial_weights": "random", "sources": ["nih"]}


def recorded(made: dict[str, Any]) -> Bundle:
    """A bundle with this record and no network."""
    return Bundle(
        name="tiny",
        version="0",
        findings=FINDINGS,
        preprocess=PreprocessSpec(size=32),
        calibration=Calibration(temperature=1.0),
        operating_points=(),
        metrics={},
        provenance=made,
    )


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    """A prepared set whose films name no source."""
    return prepared(write_films(tmp_path_factory.mktemp("films") / "raw", rows_for({"train": 1})))


@pytest.mark.parametrize(
    ("made", "share"),
    [
        ({"initial_weights": "random"}, 1.0),
        ({"initial_weights": "file, sha256 0"}, 0.0),
        ({}, 0.0),
        ({"pretraining": {"films": 5, "held_out": 0.1}}, 0.1),
        ({"pretraining": {"films": 5}}, 0.0),
        ({"pretraining": {"films": 5, "held_out": 0.1, "initial_weights": "file, sha256 0"}}, 0.0),
        ({"pretraining": {"films": 5, "held_out": 0.2, "start": {"films": 5, "held_out": 0.1}}}, 0.1),
        ({"pretraining": {"films": 5, "held_out": 0.2, "start": {"checkpoint": "theirs"}}}, 0.2),
        ({"pretraining": {"films": 5, "held_out": 0.2}, "auxiliary_digest": "a", "auxiliary_held_out": 0.1}, 0.1),
        ({"pretraining": {"films": 5, "held_out": 0.2}, "auxiliary_digest": "a"}, 0.0),
        ({"pretraining": {"films": 5, "held_out": 0.2}, "teachers": [{"name": "one", "held_out": 0.1}]}, 0.1),
        ({"pretraining": {"films": 5, "held_out": 0.2}, "teachers": [{"name": "one"}]}, 0.0),
    ],
)
def test_the_smallest_share_of_all_trainings_counts(made: dict[str, Any], share: float) -> None:
    assert held_out_share(recorded(made)) == share


@pytest.mark.parametrize(
    ("made", "who"),
    [
        (RANDOM | {"sources": ["nih", "openist"]}, "its own training"),
        ({"pretraining": TRUNK | {"labels": ["openist:normal"]}}, "its trunk's pretraining"),
        ({"pretraining": {"films": 5, "labels": [], "start": TRUNK | {"labels": ["openist:x"]}}}, "its trunk's"),
        ({"pretraining": TRUNK | {"sources": ["nih", "openist"]}}, "its trunk's pretraining"),
        (RANDOM | {"teachers": [{"name": "old", "sources": ["nih", "openist"]}]}, "its teacher old"),
    ],
)
def test_a_source_that_any_training_had_is_refused(made: dict[str, Any], who: str, films: Films) -> None:
    with pytest.raises(DatasetError, match=f"{who}.* had films of openist"):
        refuse_seen(recorded(made), "openist", films)


@pytest.mark.parametrize(
    ("made", "who"),
    [
        ({"pretraining": {"films": 5}}, "its trunk's pretraining"),
        ({"initial_weights": FILE}, "file of weights that it began with"),
        ({"pretraining": TRUNK | {"initial_weights": FILE}}, "file of weights that it began with"),
        (RANDOM | {"teachers": [{"name": "old", "digest": "d", "held_out": 0.1}]}, "its teacher old"),
        (RANDOM | {"teachers": [{"name": "old", "sources": None}]}, "its teacher old"),
        (RANDOM | {"sources": ["", "nih"]}, "its own training"),
    ],
)
def test_a_record_that_does_not_say_is_refused(made: dict[str, Any], who: str, films: Films) -> None:
    with pytest.raises(DatasetError, match=f"does not say of which sources the films of .*{who}"):
        refuse_seen(recorded(made), "openist", films)
    assert seen_sources(recorded(made)) is None


def test_a_network_has_seen_what_its_teacher_and_the_teachers_trunk_saw() -> None:
    teacher = recorded({"sources": ["siim"], "pretraining": TRUNK | {"sources": ["openist"]}})
    assert seen_sources(teacher) == ["openist", "siim"]
    student = recorded(RANDOM | {"teachers": [{"name": "old", "sources": seen_sources(teacher)}]})
    assert seen_sources(student) == ["nih", "openist", "siim"]
    assert seen_sources(recorded({"initial_weights": "random"})) is None


def test_of_auxiliary_films_those_that_were_read_teach(tmp_path: Path) -> None:
    rows = [
        row | {"source": "siim" if row["split"] == "test" else "nih"}
        for row in rows_for({"train": 1, "val": 1, "test": 1})
    ]
    prepare_films(write_films(tmp_path / "raw", rows), tmp_path / "films")
    films = [
        {"image_id": "a", "patient_id": "a", "source": "openist", "labels": "normal"},
        {"image_id": "b", "patient_id": "b", "source": "read", "labels": "mass", "rsna_class": "Normal"},
    ]
    auxiliary = load_auxiliary([set_of(tmp_path / "aux", films)], size=32)
    assert sources_of(load_dataset(tmp_path / "films"), None) == ["nih"]
    assert sources_of(load_dataset(tmp_path / "films"), auxiliary) == ["nih", "read"]
