"""Baselines: against scikit-learn, by hand, and on splits that lack something."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from model.evaluation import baselines
from model.evaluation.baselines import SVM_COSTS, Baseline, ProbeChoice, covidnet, random_guess, shortcut_probe, svm
from model.findings import FINDINGS
from model.preprocess import shrink
from model.stats.summaries import confusion_summary, summary

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def films(counts: tuple[int, ...], seed: int, *, noise: float = 40.0, size: int = 80) -> tuple[Images, Labels]:
    """uint8 [N, 1, size, size] and labels [N]: each class is bright in its own corner."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    images = random.normal(100, noise, (len(labels), 1, size, size))
    images += random.normal(0, noise, (len(labels), 1, 1, 1))  # brightness, which tells nothing
    half = size // 2
    for image, label in zip(images, labels, strict=True):
        image[0, half * (label // 2) :, half * (label % 2) :][:half, :half] += 25
    return np.clip(images, 0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def splits() -> tuple[dict[str, Images], dict[str, Labels]]:
    drawn = {"train": films((30, 25, 8), 1), "val": films((12, 12, 6), 2), "test": films((10, 10, 5), 3)}
    return {name: pair[0] for name, pair in drawn.items()}, {name: pair[1] for name, pair in drawn.items()}


@pytest.fixture(scope="module")
def fitted(splits: tuple[dict[str, Images], dict[str, Labels]]) -> Baseline:
    return svm(*splits)


def same(one: Baseline, other: Baseline) -> bool:
    return one.chosen == other.chosen and all(
        (one.scores[split] == other.scores[split]).all() and (one.predictions[split] == other.predictions[split]).all()
        for split in one.scores
    )


def test_svm_learns_what_is_there_to_learn(
    splits: tuple[dict[str, Images], dict[str, Labels]], fitted: Baseline
) -> None:
    for split, labels in splits[1].items():
        assert fitted.scores[split].shape == (len(labels), 3)
        assert (fitted.predictions[split] == fitted.scores[split].argmax(axis=1)).all()
    assert (fitted.predictions["test"] == splits[1]["test"]).mean() >= 0.9
    assert fitted.predictions["test"].dtype == np.int64


def test_svm_is_the_documented_recipe(splits: tuple[dict[str, Images], dict[str, Labels]], fitted: Baseline) -> None:
    images, labels = splits
    small = {name: np.stack([shrink(film[0], 64).ravel() for film in rows]) for name, rows in images.items()}
    model = make_pipeline(
        StandardScaler(),
        PCA(62, svd_solver="full"),
        SVC(C=fitted.chosen.cost, kernel="rbf", gamma="scale", class_weight="balanced"),
    ).fit(small["train"], labels["train"])
    assert fitted.chosen.components == 62
    assert np.allclose(fitted.scores["test"], model.decision_function(small["test"]), atol=1e-4)


def test_svm_takes_the_smallest_of_the_best_penalties(fitted: Baseline) -> None:
    reached = fitted.chosen.validation_balanced_accuracy
    assert list(reached) == [str(cost) for cost in SVM_COSTS]
    assert fitted.chosen.cost == min(cost for cost in SVM_COSTS if reached[str(cost)] == max(reached.values()))


def test_svm_chooses_its_penalty_on_the_validation_split(splits: tuple[dict[str, Images], dict[str, Labels]]) -> None:
    images, labels = splits
    mixed = np.random.default_rng(6).permutation(labels["val"])  # so that training and validation must differ
    found = svm(images, labels | {"val": mixed})
    reached = found.chosen.validation_balanced_accuracy[str(found.chosen.cost)]
    assert reached == summary(found.scores["val"], mixed, FINDINGS).balanced_accuracy < 0.7


def test_svm_never_looks_at_the_test_split(
    splits: tuple[dict[str, Images], dict[str, Labels]], fitted: Baseline
) -> None:
    images, labels = splits
    other = svm(images | {"test": films((3, 3, 3), 99)[0]}, {name: labels[name] for name in ("train", "val")})
    assert other.chosen == fitted.chosen
    assert (other.scores["val"] == fitted.scores["val"]).all()
    assert same(svm(images, labels), fitted)


def test_svm_sees_area_averages(splits: tuple[dict[str, Images], dict[str, Labels]]) -> None:
    images, labels = splits
    flat = np.full((1, 1, 128, 128), 120, np.uint8)
    board = flat + (20 * (np.indices((128, 128)).sum(axis=0) % 2 * 2 - 1)).astype(np.int8)
    assert sorted(set(board.ravel().tolist())) == [100, 140]
    found = svm(images | {"flat": flat, "board": board.astype(np.uint8)}, labels)
    assert (found.scores["flat"] == found.scores["board"]).all()


def test_svm_with_hardly_any_films() -> None:
    train, labels = films((2, 2, 2), 4, noise=5)
    found = svm({"train": train, "val": train, "none": train[:0]}, {"train": labels, "val": labels})
    assert found.chosen.components == 5
    assert found.scores["none"].shape == (0, 3)
    assert found.predictions["none"].shape == (0,)
    assert (found.predictions["train"] == labels).all()


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_class_that_training_lacks_is_never_predicted(missing: int) -> None:
    counts = tuple(0 if index == missing else 10 for index in range(3))
    train, labels = films(counts, 5, noise=8)
    test, truth = films((8, 8, 8), 6, noise=8)
    found = svm({"train": train, "val": train, "test": test}, {"train": labels, "val": labels})
    assert (found.scores["test"][:, missing] == -np.inf).all()
    assert (found.predictions["test"] != missing).all()
    held = truth != missing
    assert (found.predictions["test"][held] == truth[held]).mean() > 0.8
    probe = shortcut_probe({"train": statistics_of(train), "test": statistics_of(test)}, {"train": labels})
    assert (probe.scores["test"][:, missing] == 0).all()
    assert np.allclose(probe.scores["test"].sum(axis=1), 1)


def test_nothing_to_learn_from_is_an_error() -> None:
    images, labels = films((4, 0, 0), 7)
    with pytest.raises(ValueError, match="two classes"):
        svm({"train": images, "val": images}, {"train": labels, "val": labels})
    with pytest.raises(ValueError, match="two classes"):
        shortcut_probe({"train": statistics_of(images)}, {"train": labels})
    images, labels = films((4, 4, 4), 7)
    with pytest.raises(ValueError, match="'val'"):
        svm({"train": images, "val": images[:0]}, {"train": labels, "val": labels[:0]})


def statistics_of(images: Images) -> NDArray[np.float64]:
    flat = images.reshape(len(images), -1).astype(np.float64)
    return np.stack([flat[:, :3200].mean(axis=1), flat.mean(axis=1), flat.std(axis=1)], axis=1)


def columns(counts: tuple[int, ...], seed: int) -> tuple[NDArray[np.float64], Labels]:
    """float [N, 5] whose first column shifts with the class."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    rows = random.normal(0, 1, (len(labels), 5))
    rows[:, 0] += 2.0 * labels
    return rows * [0.01, 1, 100, 1, 1] + [1.2, 0, 50, 0, 0], labels


def test_shortcut_probe_is_the_documented_recipe() -> None:
    (train, labels), (test, truth) = columns((60, 40, 12), 1), columns((30, 30, 30), 2)
    found = shortcut_probe({"train": train, "test": test, "none": test[:0]}, {"train": labels})
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=5000))
    model.fit(train, labels)
    assert np.allclose(found.scores["test"], model.predict_proba(test))
    assert (found.predictions["test"] == model.predict(test)).all()
    assert found.scores["none"].shape == (0, 3)
    assert found.chosen == ProbeChoice(cost=1.0, columns=5)
    assert 0.55 < (found.predictions["test"] == truth).mean() < 0.9
    assert same(found, shortcut_probe({"train": train, "test": test, "none": test[:0]}, {"train": labels}))


def test_shortcut_probe_does_not_depend_on_units() -> None:
    (train, labels), (test, _) = columns((40, 40, 20), 3), columns((20, 20, 20), 4)
    scale, shift = np.array([1e3, 1, 1e-3, 7, 1]), np.array([0, 5, 0, -1, 0])
    plain = shortcut_probe({"train": train, "test": test}, {"train": labels})
    other = shortcut_probe({"train": train * scale + shift, "test": test * scale + shift}, {"train": labels})
    assert np.allclose(plain.scores["test"], other.scores["test"], atol=1e-6)


def test_shortcut_probe_on_noise_is_no_better_than_guessing() -> None:
    random = np.random.default_rng(8)
    rows, labels = random.normal(0, 1, (600, 5)), random.integers(3, size=600)
    found = shortcut_probe({"train": rows[:300], "test": rows[300:]}, {"train": labels[:300]})
    assert (found.predictions["test"] == labels[300:]).mean() == pytest.approx(1 / 3, abs=0.09)


def test_random_guess_on_the_papers_test_films() -> None:
    labels = np.repeat([0, 1, 2], [100, 100, 10])
    guess = random_guess(labels)
    assert (guess.accuracy, guess.recall) == (0.3333, (0.3333,) * 3)
    assert guess.precision == (0.4762, 0.4762, 0.0476)
    assert set(guess.predictions.tolist()) == {0, 1, 2}
    assert (guess.predictions == random_guess(labels[::-1]).predictions).all()
    assert (guess.predictions != random_guess(labels, seed=1).predictions).any()
    assert random_guess(labels[:0]).predictions.shape == (0,)


def test_what_random_guessing_averages_to() -> None:
    labels = np.repeat([0, 1, 2], [20_000, 20_000, 2_000])
    guess = random_guess(labels, seed=4)
    right = guess.predictions == labels
    assert right.mean() == pytest.approx(guess.accuracy, abs=0.01)
    for index in range(3):
        assert right[labels == index].mean() == pytest.approx(guess.recall[index], abs=0.03)
        assert right[guess.predictions == index].mean() == pytest.approx(guess.precision[index], abs=0.01)


PRECISION, RECALL = (0.913, 0.938, 0.889), (0.95, 0.91, 0.80)


def published(matrix: NDArray[np.int64]) -> bool:
    report = confusion_summary(matrix, FINDINGS)
    found = [
        [round(getattr(report, rate)[name].value or 0.0, 3) for name in FINDINGS] for rate in ("precision", "recall")
    ]
    return found == [list(PRECISION), list(RECALL)]


def test_covidnet_has_its_published_figures() -> None:
    report = confusion_summary(covidnet(), FINDINGS)
    assert covidnet().sum(axis=1).tolist() == [100, 100, 10]
    assert published(covidnet())
    assert round(report.accuracy.value or 0.0, 3) == 0.924


def test_one_other_matrix_fits_covidnet_as_its_docstring_says() -> None:
    fitting = [
        [[95, 5 - a, a], [9 - b, 91, b], [c, 2 - c, 8]]
        for a, b, c in itertools.product(range(6), range(10), range(3))
        if published(np.array([[95, 5 - a, a], [9 - b, 91, b], [c, 2 - c, 8]]))
    ]
    assert fitting == [covidnet().tolist(), [[95, 4, 1], [9, 91, 0], [0, 2, 8]]]
    assert str(fitting[1]) in str(baselines.covidnet.__doc__)


def test_importing_baselines_imports_no_scikit_learn() -> None:
    command = "import sys, model.evaluation.baselines; sys.exit('sklearn' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False, timeout=180).returncode == 0
