"""The network beside what it must beat, film by film: an SVM, the films' origin, and one source alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import STATISTICS, FilmRow, Films
from model.errors import DatasetError, first_line
from model.evaluation.baselines import COVIDNET_BASIS, Baseline, covidnet, random_guess, shortcut_probe, svm
from model.findings import FINDINGS
from model.stats.binomial import proportion
from model.stats.curves import curves, roc_curve
from model.stats.summaries import Weights, bootstrap, confusion_summary, four_digits, mcnemar, summary

if TYPE_CHECKING:
    from model.evaluation.scored import ScoredFilms

FAIR_SOURCE = "ieee8023"
"""The one source of cxr3 with both pneumonia and COVID-19: there, origin cannot tell them apart."""
FAIR_CLASSES = ("pneumonia", "covid19")
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A baseline's JSON-ready content, and its answers on each part where it gave any."""

    content: dict[str, Any]
    answers: Baseline | None = None


def baselines(parts: "Mapping[str, ScoredFilms]", fitted: "ScoredFilms") -> dict[str, Rival]:
    """Everything to set beside the network.

    Args:
        parts: films to answer for, `train`, `val`, `test` and `test_all`.
        fitted: the films that the network was fitted on.

    Returns:
        svm and shortcut (fitted on `fitted`), svm_own_views (on the bundle's views alone, where these are fewer),
        statistics, random, covidnet. Raises DatasetError when a baseline cannot be fitted.
    """
    films = {name: part.films for name, part in parts.items()} | {"fitted": fitted.films}
    labels = {name: part.labels for name, part in films.items()}
    images = {name: part.images for name, part in films.items()}
    statistics = {name: part.statistics for name, part in films.items()}
    try:
        found = {"svm": svm(images, labels, train="fitted")}
        if len(films["fitted"]) > len(films["train"]):
            found["svm_own_views"] = svm(images, labels, train="train")
        found["shortcut"] = shortcut_probe(statistics, labels, train="fitted")
    except ValueError as error:
        raise DatasetError(f"a baseline cannot be fitted: {first_line(error)}") from None
    rivals = {name: Rival(content=_content(answers, films), answers=answers) for name, answers in found.items()}
    rivals["statistics"] = Rival(content={name: _alone(fitted.films, films[name]) for name in ("test", "test_all")})
    rivals["random"] = Rival(content={name: _random(films[name]) for name in ("test", "test_all")})
    rivals["covidnet"] = Rival(content=confusion_summary(covidnet(), FINDINGS) | {"basis": COVIDNET_BASIS})
    return rivals


def against(parts: "Mapping[str, ScoredFilms]", rivals: Mapping[str, Rival]) -> dict[str, dict[str, Any]]:
    """The network against each fitted baseline: baseline -> part -> `difference`."""
    return {
        name: {
            part: difference(
                parts[part].called, rival.answers.predictions[part], parts[part].labels, parts[part].films.patients
            )
            for part in ("test", "test_all")
        }
        for name, rival in rivals.items()
        if rival.answers
    }


def difference(first: Labels, second: Labels, labels: Labels, patients: Sequence[str]) -> dict[str, Any]:
    """McNemar's test, and first minus second with patient-bootstrap intervals: accuracy and balanced accuracy."""
    gain = (first == labels).astype(float) - (second == labels)
    present = [labels == index for index in np.unique(labels)]

    def accuracy(weights: Weights) -> NDArray[np.float64]:
        return np.asarray(weights @ gain / weights.sum(axis=1))

    def balanced(weights: Weights) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):  # a resample without a class is left out
            recalls = [weights[:, films] @ gain[films] / weights[:, films].sum(axis=1) for films in present]
        return np.asarray(np.mean(recalls, axis=0))

    def estimate(statistic: Any) -> dict[str, Any]:
        value = float(statistic(np.ones((1, len(labels))))[0])
        return {"value": four_digits(value), "interval95": bootstrap(statistic, patients)}

    return {
        "mcnemar": mcnemar(first, second, labels),
        "accuracy": estimate(accuracy),
        "balanced_accuracy": estimate(balanced),
    }


def fair(parts: "Mapping[str, ScoredFilms]", rivals: Mapping[str, Rival]) -> dict[str, Any]:
    """Pneumonia against COVID-19 within `FAIR_SOURCE`, by the network, the SVM and the films' statistics.

    Returns:
        {"source", "classes", "test": {"network", "svm", "shortcut"}, "test_all": ...}, each `two_classes` or None when
        the source has not both classes there.
    """

    def chosen(film: FilmRow) -> bool:
        return film.source == FAIR_SOURCE and film.label in FAIR_CLASSES

    other, wanted = (FINDINGS.index(name) for name in FAIR_CLASSES)
    content: dict[str, Any] = {"source": FAIR_SOURCE, "classes": list(FAIR_CLASSES)}
    for name in ("test", "test_all"):
        part = parts[name]
        rows = [row for row, film in enumerate(part.films.records) if chosen(film)]
        films = part.films.where(chosen)
        if len(set(films.labels)) < 2:
            content[name] = None
            continue
        # A difference of logits orders films as p(covid) / (p(covid) + p(pneumonia)) does, and 0 is one half.
        margins = {"network": part.logits[rows, wanted] - part.logits[rows, other]}
        for rival in ("svm", "shortcut"):
            answers = rivals[rival].answers
            if answers:
                scores = answers.scores[name][rows]
                margins[rival] = scores[:, wanted] - scores[:, other]
        content[name] = {who: two_classes(margin, films.labels == wanted, films) for who, margin in margins.items()}
    return content


def two_classes(margin: NDArray[Any], positive: NDArray[np.bool_], films: Films) -> dict[str, Any]:
    """{"accuracy", "sensitivity", "specificity", "auroc"} of calling films positive where the margin [N] is over 0."""
    called = margin > 0
    return {
        "films": len(positive),
        "accuracy": proportion(int((called == positive).sum()), len(positive)),
        "sensitivity": proportion(int((called & positive).sum()), int(positive.sum())),
        "specificity": proportion(int((~called & ~positive).sum()), int((~positive).sum())),
        "auroc": roc_curve(margin.astype(np.float64), positive, films.patients)["auroc"],
    }


def _content(answers: Baseline, films: Mapping[str, Films]) -> dict[str, Any]:
    measured: dict[str, Any] = {}
    for name, part in films.items():
        called = np.eye(len(FINDINGS))[answers.predictions[name]]
        measured[name] = {
            "summary": summary(called, part.labels, FINDINGS, patients=part.patients),
            "auroc": {
                finding: found["roc"]["auroc"]
                for finding, found in curves(answers.scores[name], part.labels, FINDINGS, part.patients).items()
            },
        }
    return {"chosen": answers.chosen} | measured


def _alone(fitted: Films, films: Films) -> dict[str, Any]:
    """AUROC of each statistic alone for COVID-19 against the rest; which way it points is read off the fitted films."""
    wanted = FINDINGS.index("covid19")

    def columns(part: Films) -> dict[str, NDArray[np.float64]]:
        found = dict(zip(STATISTICS, part.statistics.T, strict=True))
        return found | {"shape": np.abs(found["aspect"] - 1)}

    before = columns(fitted)
    result = {}
    for name, values in columns(films).items():
        lower = roc_curve(before[name], fitted.labels == wanted, fitted.patients)["auroc"]["value"] < 0.5
        roc = roc_curve(-values if lower else values, films.labels == wanted, films.patients)
        result[name] = {"covid19_has": "less" if lower else "more", "auroc": roc["auroc"]}
    return result


def _random(films: Films) -> dict[str, Any]:
    guess = random_guess(films.labels)
    drawn = summary(np.eye(len(FINDINGS))[guess.predictions], films.labels, FINDINGS, patients=films.patients)
    return {
        "summary": drawn,
        "expected": {"accuracy": guess.accuracy, "recall": list(guess.recall), "precision": list(guess.precision)},
    }
