"""What the network must beat: an SVM, random guessing, COVID-Net, and a probe that sees no lung at all.

scikit-learn is imported where it is used: it belongs to the `train` extra, and serving does not have it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model.findings import FINDINGS
from model.json_value import JsonValue
from model.preprocess import shrink
from model.stats.summaries import Labels

Images = NDArray[np.uint8]
Scores = NDArray[np.float64]

SVM_SIZE = 64
"""Side of a film as the SVM sees it, pixels."""
SVM_COMPONENTS = 100
SVM_COSTS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)

COVIDNET_BASIS = (
    "COVID-Net Small, reconstructed from its published sensitivity (95.0, 91.0, 80.0 %) and positive predictive value "
    "(91.3, 93.8, 88.9 %) on 100 normal, 100 pneumonia and 10 COVID-19 films; the matrix itself was published as a "
    "picture. One other matrix fits these numbers."
)


@dataclass(frozen=True, kw_only=True)
class SvmChoice(JsonValue):
    scores: Literal["decision"] = "decision"
    """Signed distances."""
    size: int
    """Side of a film as it sees it, pixels."""
    components: int
    cost: float
    """The penalty that was chosen."""
    validation_balanced_accuracy: dict[str, float]
    """By penalty."""


@dataclass(frozen=True, kw_only=True)
class ProbeChoice(JsonValue):
    scores: Literal["probability"] = "probability"
    cost: float
    columns: int
    """Statistics of a film."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """One fitted baseline's answers on every split it was given."""

    scores: dict[str, Scores]
    """split -> [N, classes]: probabilities, or signed distances where `chosen.scores` says decision"""
    predictions: dict[str, Labels]
    """split -> [N], the class with the highest score"""
    chosen: SvmChoice | ProbeChoice
    """what was fixed and what was selected"""


@dataclass(frozen=True, kw_only=True)
class Guess:
    """Random guessing: one draw, and what all draws average to."""

    predictions: Labels
    """[N]"""
    accuracy: float
    """expected"""
    recall: tuple[float, ...]
    """expected, of each class"""
    precision: tuple[float, ...]
    """expected films of the class among those called so, of each class: its share of the films"""


def svm(
    images: Mapping[str, Images],
    labels: Mapping[str, Labels],
    *,
    train: str = "train",
    classes: int = len(FINDINGS),
) -> Baseline:
    """Support vector machine on small films: 64 x 64 by area averaging, standardised, PCA, RBF kernel.

    Classes weigh inversely to their size. The penalty C is the one of `SVM_COSTS` with the best balanced accuracy on
    the validation split, the smallest of several: the split that also chooses the network's epoch, so the two compare
    fairly, and never the test split. The kernel width is scikit-learn's "scale".

    Args:
        images: split -> uint8 [N, 1, S, S].
        labels: split -> [N] class index; needed of the training and validation splits alone.
        train: the split to fit on; C is chosen on "val".
        classes: how many there are.

    Returns:
        Decisions, one against the rest, of every split in `images`; not probabilities. A finding that the training
        split lacks scores -inf.

    Raises:
        ValueError: fewer than two classes to train on, or no film to validate on.
    """
    from sklearn.decomposition import PCA  # type: ignore[import-untyped]
    from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]
    from sklearn.svm import SVC  # type: ignore[import-untyped]

    _check_classes(labels[train])
    if not len(labels["val"]):
        raise ValueError("no film in the split 'val' to choose the penalty on")
    pixels = {split: _small(films) for split, films in images.items()}
    components = min(SVM_COMPONENTS, len(pixels[train]) - 1)
    reduced = make_pipeline(StandardScaler(), PCA(components, svd_solver="full")).fit(pixels[train])
    features = {split: reduced.transform(rows) if len(rows) else rows for split, rows in pixels.items()}
    models = [
        # break_ties: the prediction is then the highest decision, as `Baseline` promises.
        SVC(C=cost, class_weight="balanced", break_ties=True).fit(features[train], labels[train])
        for cost in SVM_COSTS
    ]
    reached = [_balanced_accuracy(_decisions(model, features["val"], classes), labels["val"]) for model in models]
    best = int(np.argmax(reached))
    return _baseline(
        {split: _decisions(models[best], rows, classes) for split, rows in features.items()},
        SvmChoice(
            size=SVM_SIZE,
            components=components,
            cost=SVM_COSTS[best],
            validation_balanced_accuracy={
                str(cost): round(value, 4) for cost, value in zip(SVM_COSTS, reached, strict=True)
            },
        ),
    )


def shortcut_probe(
    statistics: Mapping[str, NDArray[np.float64]],
    labels: Mapping[str, Labels],
    *,
    train: str = "train",
    classes: int = len(FINDINGS),
) -> Baseline:
    """How far the films' origin alone goes: logistic regression on statistics that show no lung.

    What it reaches above guessing, a network can reach without looking at disease (DeGrave et al. 2021). Columns are
    standardised by the training split, the L2 penalty is scikit-learn's C = 1, classes weigh inversely to their size.

    Args:
        statistics: split -> float [N, columns], such as aspect ratio, mean, spread, black share and white share.
        labels: split -> [N] class index; needed of the training split alone.
        train: the split to fit on.
        classes: how many there are.

    Returns:
        Probabilities of every split in `statistics`; 0 for a finding that the training split lacks.

    Raises:
        ValueError: fewer than two classes to train on.
    """
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _check_classes(labels[train])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, class_weight="balanced", max_iter=5000))
    model.fit(statistics[train], labels[train])
    scores = {}
    for split, rows in statistics.items():
        scores[split] = np.zeros((len(rows), classes))
        if len(rows):
            scores[split][:, model.classes_] = model.predict_proba(rows)
    return _baseline(scores, ProbeChoice(cost=1.0, columns=int(statistics[train].shape[1])))


def random_guess(labels: Labels, *, seed: int = 0, classes: int = len(FINDINGS)) -> Guess:
    """Every film gets a class drawn uniformly, whatever the classes' sizes.

    That is what the paper's row shows: an accuracy of .343, recalls near a third, and precisions near the classes'
    shares of its test films (.48, .48, .05).

    Args:
        labels: [N]; no film, no expectation: the expected precision is then 0.
        seed: of the one draw.
        classes: how many there are.
    """
    films = np.bincount(labels, minlength=classes)
    return Guess(
        predictions=np.random.default_rng(seed).integers(classes, size=len(labels), dtype=np.int64),
        accuracy=round(1 / classes, 4),
        recall=(round(1 / classes, 4),) * classes,
        precision=tuple(round(float(count / max(1, len(labels))), 4) for count in films),
    )


def covidnet() -> NDArray[np.int64]:
    """COVID-Net (Wang & Wong 2020, arXiv 2003.09871) on its first test list, the one the paper compares with.

    int [3, 3]; row i counts the films of class i, in the order normal, pneumonia, COVID-19. Accuracy 194 of 210.

    Reconstructed: the project's README in spring 2020 (lindawangg/COVID-Net at c4da4b0, "COVIDNet Small") prints
    sensitivity and positive predictive value and shows the matrix as a picture. Of all matrices with 100, 100 and 10
    films two have these values: this one, and [[95, 4, 1], [9, 91, 0], [0, 2, 8]]. They share the diagonal and the
    column sums, so accuracy, precision and recall are exact either way; which wrong class was called is not known.
    """
    return np.array([[95, 5, 0], [8, 91, 1], [1, 1, 8]], np.int64)


def _baseline(scores: dict[str, Scores], chosen: SvmChoice | ProbeChoice) -> Baseline:
    predictions = {split: rows.argmax(axis=1).astype(np.int64) for split, rows in scores.items()}
    return Baseline(scores=scores, predictions=predictions, chosen=chosen)


def _check_classes(labels: Labels) -> None:
    if len(np.unique(labels)) < 2:
        raise ValueError("the training split needs films of at least two classes")


def _small(films: Images) -> NDArray[np.float32]:
    """uint8 [N, 1, S, S] -> float32 [N, SVM_SIZE ** 2], 0..255."""
    small = np.zeros((len(films), SVM_SIZE**2), np.float32)
    for row, film in enumerate(films):
        small[row] = shrink(film[0], SVM_SIZE).ravel()
    return small


def _decisions(model: Any, features: NDArray[np.float32], classes: int) -> Scores:
    """[N, findings], -inf for a finding that the model never saw."""
    scores = np.full((len(features), classes), -np.inf)
    if len(features):
        found = model.decision_function(features)
        scores[:, model.classes_] = found if found.ndim == 2 else np.stack([-found, found], axis=1)
    return scores


def _balanced_accuracy(scores: Scores, labels: Labels) -> float:
    """Mean recall of the classes that occur."""
    predicted = scores.argmax(axis=1)
    return float(np.mean([(predicted[labels == index] == index).mean() for index in np.unique(labels)]))
