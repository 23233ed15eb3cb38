"""What a training learns from: which films, with which targets and weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'xrayq[train]'")

from model.data.auxiliary import AuxiliaryFilms  # noqa: E402
from model.data.dataset import Films  # noqa: E402
from model.errors import DatasetError  # noqa: E402
from model.training.material import training_material, validation_material  # noqa: E402
from model.training.sampling import UNKNOWN  # noqa: E402
from model.training.train import train  # noqa: E402
from tests.unit.model.films import dataset_for, prepared, rows_for, write_films  # noqa: E402
from tests.unit.model.small import TINY, Small  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
READ = replace(TINY, reading_weight=1.0, class_weight_power=0.0)


def films(folder: Path, *cells: dict[str, Any]) -> Films:
    """A normal, a pneumonia and a COVID-19 film, with these fields, and one more of each."""
    made = prepared(write_films(folder / "raw", rows_for({"train": 2})), views=())
    order = sorted(range(len(made)), key=lambda row: (made.identifiers[row][-1], made.labels[row]))
    records = list(made.records)
    for row, changes in zip(order, cells, strict=False):
        records[row] = replace(records[row], **changes)
    return replace(made, rows=made.rows[order], records=tuple(records[row] for row in order))


def auxiliary(size: int = 32) -> AuxiliaryFilms:
    """Four films of source nih, read as normal, not normal, opacity, and not read."""
    labels = ("nih:Mass", "rsna:Lung Opacity", "rsna:Normal", "rsna:Not Normal")
    truth = np.array([[0, 0, 1, 0], [1, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0]], np.float32)
    known = np.array([[1, 1, 1, 1]] * 3 + [[1, 0, 0, 0]], np.float32)
    images = np.arange(4, dtype=np.uint8).repeat(size * size).reshape(4, 1, size, size)
    return AuxiliaryFilms(images=images, truth=truth, known=known, labels=labels, sources=("nih",) * 4, digest="d")


def test_films_of_no_weight_are_left_out_unless_a_reading_is_known(tmp_path: Path) -> None:
    mined = {"label_basis": "nih_report_nlp", "source": "nih"}
    made = films(tmp_path, {}, mined | {"reading": "Normal"}, {}, {}, mined)
    config = replace(READ, mined_weight=(("pneumonia", 0.0),), reading_weight=0.0)
    with pytest.raises(DatasetError, match=r"split 'train' lacks films of every class: .*'pneumonia': 0"):
        training_material(made, config)
    made = films(tmp_path / "b", {}, mined | {"reading": "Normal"}, {}, {}, {})
    assert training_material(made, config).labels.tolist() == [0, 2, 0, 1, 2]
    found = training_material(made, replace(config, reading_weight=0.5))
    assert (found.labels[1], found.readings[1], found.weights[1]) == (UNKNOWN, 0, 0)


def test_weights_of_labels_and_sources_are_multiplied(tmp_path: Path) -> None:
    made = films(tmp_path, {"source": "siim", "label_basis": "nih_report_nlp"}, {"source": "siim"})
    config = replace(READ, mined_weight=(("normal", 0.5),), source_weight=(("siim", 0.3),))
    assert training_material(made, config).weights.tolist() == pytest.approx([0.15, 0.3, 1, 1, 1, 1])
    balanced = training_material(made, replace(config, balance="source", epoch_films=50))
    assert balanced.weights.tolist() == [1.0] * 6  # they are in the draws
    assert len(balanced.order(torch.Generator().manual_seed(1))) == 50
    validated = validation_material(made, replace(config, mined_weight=(("normal", 0.0),)), balanced.balance)
    assert validated.weights.tolist() == pytest.approx([0, 0.3, 1, 1, 1, 1])


def test_auxiliary_films_join_by_their_reading(tmp_path: Path) -> None:
    found = training_material(films(tmp_path), READ, auxiliary=auxiliary())
    assert found.readings[6:].tolist() == [0, 1, 2]
    assert found.labels[6:].tolist() == [UNKNOWN] * 3
    assert found.sources[6:] == ("nih",) * 3
    mixed = found.take(np.array([7, 0, 8]))
    assert np.array_equal(mixed[[0, 2]], auxiliary().images[[1, 2]])
    assert np.array_equal(mixed[1], films(tmp_path / "again").take(np.array([0]))[0])
    labelled = training_material(films(tmp_path / "b"), replace(READ, auxiliary_weight=0.5), auxiliary=auxiliary())
    assert labelled.labels[6:].tolist() == [0, UNKNOWN, 1]
    assert labelled.weights[6:].tolist() == [0.5, 0, 0.5]
    alone = replace(READ, reading_weight=0.0, auxiliary_weight=1.0)
    assert training_material(films(tmp_path / "c"), alone, auxiliary=auxiliary()).labels[6:].tolist() == [0, 1]


def test_a_mined_label_moves_towards_another_reading(tmp_path: Path) -> None:
    mined = {"label_basis": "nih_report_nlp"}
    made = films(
        tmp_path,
        mined | {"reading": "Lung Opacity"},
        mined | {"reading": "No Lung Opacity / Not Normal"},
        {"reading": "Normal"},  # its label was not mined
        mined | {"reading": "Normal"},  # they agree
    )
    targets = training_material(made, replace(READ, disagreement=0.6)).targets
    assert targets[0].tolist() == pytest.approx([0.4, 0.6, 0])
    assert targets[1].tolist() == pytest.approx([0.2, 0.6, 0.2])
    assert targets[2:4].tolist() == [[0, 0, 1], [1, 0, 0]]


def test_a_teacher_moves_the_target(tmp_path: Path) -> None:
    made = films(tmp_path)
    teacher = np.full((6, 3), 1 / 3, np.float32)
    teacher[0] = [0.81, 0.09, 0.1]
    config = replace(READ, teacher_weight=0.5, teacher_temperature=2.0)
    targets = training_material(made, config, teacher=teacher).targets
    soft = np.sqrt(teacher[0]) / np.sqrt(teacher[0]).sum()
    assert targets[0].tolist() == pytest.approx((0.5 * np.array([1, 0, 0]) + 0.5 * soft).tolist(), abs=1e-6)
    assert targets[1].tolist() == pytest.approx([1 / 6, 4 / 6, 1 / 6])


def test_validation_weighs_findings_and_sources_as_the_draws_do(tmp_path: Path) -> None:
    made = films(tmp_path, {"source": "a"}, {"source": "a"}, {"source": "b"}, {"source": "b"}, {"source": "b"})
    config = replace(READ, balance="source")
    weights = validation_material(made, config, training_material(made, config).balance).weights
    by_label = [weights[made.labels == label].sum() for label in range(3)]
    assert by_label == pytest.approx([1 / 3] * 3)


def test_a_training_with_readings_alone_beside_labels(tmp_path: Path) -> None:
    dataset = dataset_for(tmp_path, rows_for({"train": 2, "val": 1}))
    config = replace(READ, epochs=2, balance="source", schedule="one_cycle")
    trained = train(Small(), dataset, config, auxiliary=auxiliary())
    assert np.isfinite([epoch.train_loss for epoch in trained.epochs]).all()
