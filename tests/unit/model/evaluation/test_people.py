"""Patients are counted once, films each; what is not said is said to be so."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from model.data.dataset import FilmRow, Films
from model.evaluation.people import ALL, people_of

ROW = FilmRow(
    identifier="1",
    label="normal",
    patient="a",
    split="test",
    view="PA",
    source="nih",
    label_basis="rsna_radiologist",
    age=40.0,
    aspect=1.0,
    mean=0.5,
    spread=0.2,
    black=0.0,
    white=0.0,
    sex="F",
)


def films(*records: FilmRow) -> Films:
    return Films(store=np.zeros((len(records), 1, 8, 8), np.uint8), rows=np.arange(len(records)), records=records)


def test_people_by_hand(tmp_path: Path) -> None:
    found = people_of(
        films(
            ROW,
            replace(ROW, identifier="2", age=44.0, view="AP", label_basis=""),
            replace(ROW, identifier="3", patient="b", age=60.0, sex="M"),
            replace(ROW, identifier="4", patient="c", age=None, sex="", label="covid19", source="", view=""),
            replace(ROW, identifier="5", patient="d", age=80.0, sex="F"),
        )
    )
    assert list(found) == [ALL, "normal", "covid19"]
    every, normal, covid = found.values()
    assert (every.films, every.patients) == (5, 4)
    assert (every.age.known, every.age.median, every.age.quartiles) == (3, 60.0, (50.0, 70.0))
    assert every.sex == {"F": 2, "M": 1, "not said": 1}
    assert every.views == {"AP": 1, "PA": 3, "not said": 1}
    assert every.bases == {
        "not said": {"rsna_radiologist": 1},
        "nih": {"not said": 1, "rsna_radiologist": 3},
    }
    assert every.sources == {"not said": 1, "nih": 4}
    assert (normal.films, normal.patients, covid.age.median, covid.age.quartiles) == (4, 3, None, None)


def test_the_order_of_films_does_not_matter() -> None:
    records = [replace(ROW, identifier=str(n), age=20.0 + n, patient=f"p{n % 3}") for n in range(9)]
    assert people_of(films(*records)) == people_of(films(*reversed(records)))
