"""A small prepared set with several views, sources and label bases, and its evaluation by the random network."""

from pathlib import Path

from model.bundle import Bundle
from model.engine.ort import OrtEngine
from model.evaluation.evaluate import Evaluation, evaluate
from tests.unit.model.films import Row, prepare_films, rows_for, write_films


def rows() -> list[Row]:
    """42 films. In each split and class the last is AP; half of the pneumonia and all COVID-19 are of one source."""
    made = rows_for({"train": 6, "val": 3, "test": 5})
    for row in made:
        number = int(row["image_id"].rsplit("-", 1)[1])
        last = {"train": 5, "val": 2, "test": 4}[row["split"]]
        row["view"] = "AP" if number == last else "PA"
        shared = row["label"] == "covid19" or (row["label"] == "pneumonia" and number % 2)
        row["source"] = "ieee8023" if shared else "nih"
        row["label_basis"] = "nih_report_nlp" if not shared and number % 2 == 0 else "read by a person"
    return made


def prepared(folder: Path, *, size: int = 224) -> Path:
    prepare_films(write_films(folder / "raw", rows(), side=96), folder / "films", size=size, views=())
    return folder / "films"


def evaluated(bundle: Bundle, films: Path) -> Evaluation:
    return evaluate(bundle, OrtEngine(bundle, threads=2), films)
