"""The network beside what it must beat, film by film: an SVM, the films' origin, and one source alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import STATISTICS, FilmRow, Films
from model.errors import DatasetError, first_line
from model.evaluation.baselines import (
    COVIDNET_BASIS,
    Baseline,
    ProbeChoice,
    SvmChoice,
    covidnet,
    random_guess,
    shortcut_probe,
    svm,
)
from model.evaluation.scored import ScoredFilms
from model.findings import FINDINGS
from model.json_value import JsonValue
from model.stats.binomial import Proportion, proportion
from model.stats.curves import Area, curves, roc_curve
from model.stats.estimate import Estimate
from model.stats.summaries import (
    McNemar,
    PatientSummary,
    Summary,
    Weights,
    bootstrap,
    confusion_summary,
    four_digits,
    mcnemar,
    patient_summary,
)

FAIR_SOURCE = "ieee8023"
"""The one source of cxr3 with both pneumonia and COVID-19: there, origin cannot tell them apart."""
FAIR_CLASSES = ("pneumonia", "covid19")
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class BaselinePart(JsonValue):
    """What a fitted baseline reaches on one part of the films."""

    summary: PatientSummary
    auroc: dict[str, Area]
    """By class."""


@dataclass(frozen=True, kw_only=True)
class FittedBaseline(JsonValue):
    chosen: SvmChoice | ProbeChoice
    train: BaselinePart
    val: BaselinePart
    test: BaselinePart
    test_all: BaselinePart
    fitted: BaselinePart
    """The films that it was fitted for: those of the network's training views."""

    def parts(self) -> dict[str, BaselinePart]:
        """Those that the network is measured on, too."""
        return {"train": self.train, "val": self.val, "test": self.test, "test_all": self.test_all}


@dataclass(frozen=True, kw_only=True)
class StatisticAlone(JsonValue):
    """COVID-19 against the rest by one statistic of the whole film."""

    covid19_has: str
    """more or less of it, on the films of the training."""
    auroc: Area


@dataclass(frozen=True, kw_only=True)
class Expected(JsonValue):
    """Means over all draws."""

    accuracy: float
    recall: tuple[float, ...]
    """By class, as the next."""
    precision: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RandomGuess(JsonValue):
    summary: PatientSummary
    """Of one draw."""
    expected: Expected


@dataclass(frozen=True, kw_only=True)
class CovidNet(Summary):
    basis: str
    """Where the matrix is from, in words."""


@dataclass(frozen=True, kw_only=True)
class Baselines(JsonValue):
    svm: FittedBaseline
    svm_own_views: FittedBaseline | None = None
    """Fitted on the bundle's views alone; None, and not in the JSON, where the network saw no others either."""
    shortcut: FittedBaseline
    """Logistic regression on statistics that show no lung."""
    statistics: dict[str, dict[str, StatisticAlone]]
    """Part -> statistic."""
    random: dict[str, RandomGuess]
    """By part."""
    covidnet: CovidNet

    def fitted(self) -> dict[str, FittedBaseline]:
        own = {"svm_own_views": self.svm_own_views} if self.svm_own_views else {}
        return {"svm": self.svm} | own | {"shortcut": self.shortcut}

    def as_dict(self) -> dict[str, Any]:
        plain = super().as_dict()
        return {name: value for name, value in plain.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Difference(JsonValue):
    """The network and a baseline on the same films; network minus baseline."""

    mcnemar: McNemar
    accuracy: Estimate
    balanced_accuracy: Estimate


@dataclass(frozen=True, kw_only=True)
class TwoClasses(JsonValue):
    """COVID-19 against pneumonia."""

    films: int
    accuracy: Proportion
    sensitivity: Proportion
    specificity: Proportion
    auroc: Area


@dataclass(frozen=True, kw_only=True)
class FairSlice(JsonValue):
    """Pneumonia against COVID-19 within one source; None where it has not both classes."""

    source: str
    classes: tuple[str, ...]
    test: dict[str, TwoClasses] | None
    """By who answers: network, svm, shortcut."""
    test_all: dict[str, TwoClasses] | None

    def parts(self) -> dict[str, dict[str, TwoClasses]]:
        """Those with both classes."""
        both = {"test": self.test, "test_all": self.test_all}
        return {name: answers for name, answers in both.items() if answers is not None}


def fit_baselines(parts: Mapping[str, ScoredFilms], fitted: ScoredFilms) -> dict[str, Baseline]:
    """Answers of svm and shortcut (fitted on `fitted`), and of svm_own_views (on the bundle's views alone, where these
    are fewer).

    Args:
        parts: films to answer for, `train`, `val`, `test` and `test_all`.
        fitted: the films that the network was fitted on.

    Raises:
        DatasetError: a baseline cannot be fitted.
    """
    films = _films(parts, fitted)
    labels = {name: part.labels for name, part in films.items()}
    images = {name: part.images for name, part in films.items()}
    statistics = {name: part.statistics for name, part in films.items()}
    try:
        answers = {"svm": svm(images, labels, train="fitted")}
        if len(films["fitted"]) > len(films["train"]):
            answers["svm_own_views"] = svm(images, labels, train="train")
        answers["shortcut"] = shortcut_probe(statistics, labels, train="fitted")
    except ValueError as error:
        raise DatasetError(f"a baseline cannot be fitted: {first_line(error)}") from None
    return answers


def baselines(parts: Mapping[str, ScoredFilms], fitted: ScoredFilms, answers: Mapping[str, Baseline]) -> Baselines:
    """Everything to set beside the network, measured; arguments as of `fit_baselines`, and its answers."""
    films = _films(parts, fitted)
    return Baselines(
        **{name: _measured(given, films) for name, given in answers.items()},
        statistics={name: _alone(fitted.films, films[name]) for name in ("test", "test_all")},
        random={name: _random(films[name]) for name in ("test", "test_all")},
        covidnet=CovidNet(**vars(confusion_summary(covidnet(), FINDINGS)), basis=COVIDNET_BASIS),
    )


def against(parts: Mapping[str, ScoredFilms], answers: Mapping[str, Baseline]) -> dict[str, dict[str, Difference]]:
    """The network against each fitted baseline: baseline -> part -> difference."""
    return {
        name: {
            part: difference(
                parts[part].called, given.predictions[part], parts[part].labels, parts[part].films.patients
            )
            for part in ("test", "test_all")
        }
        for name, given in answers.items()
    }


def difference(first: Labels, second: Labels, labels: Labels, patients: Sequence[str]) -> Difference:
    """McNemar's test, and first minus second with patient-bootstrap intervals: accuracy and balanced accuracy."""
    gain = (first == labels).astype(float) - (second == labels)
    present = [labels == index for index in np.unique(labels)]

    def accuracy(weights: Weights) -> NDArray[np.float64]:
        return np.asarray(weights @ gain / weights.sum(axis=1))

    def balanced(weights: Weights) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):  # a resample without a class is left out
            recalls = [weights[:, films] @ gain[films] / weights[:, films].sum(axis=1) for films in present]
        return np.asarray(np.mean(recalls, axis=0))

    def estimate(statistic: Callable[[Weights], NDArray[np.float64]]) -> Estimate:
        value = float(statistic(np.ones((1, len(labels))))[0])
        return Estimate(value=four_digits(value), interval95=bootstrap(statistic, patients))

    return Difference(
        mcnemar=mcnemar(first, second, labels), accuracy=estimate(accuracy), balanced_accuracy=estimate(balanced)
    )


def fair(parts: Mapping[str, ScoredFilms], answers: Mapping[str, Baseline]) -> FairSlice:
    """Pneumonia against COVID-19 within `FAIR_SOURCE`, by the network, the SVM and the films' statistics."""
    return FairSlice(
        source=FAIR_SOURCE,
        classes=FAIR_CLASSES,
        test=_fair("test", parts["test"], answers),
        test_all=_fair("test_all", parts["test_all"], answers),
    )


def _fair(name: str, part: ScoredFilms, answers: Mapping[str, Baseline]) -> dict[str, TwoClasses] | None:
    def chosen(film: FilmRow) -> bool:
        return film.source == FAIR_SOURCE and film.label in FAIR_CLASSES

    other, wanted = (FINDINGS.index(finding) for finding in FAIR_CLASSES)
    rows = [row for row, film in enumerate(part.films.records) if chosen(film)]
    films = part.films.where(chosen)
    if len(set(films.labels)) < 2:
        return None
    # A difference of logits orders films as p(covid) / (p(covid) + p(pneumonia)) does, and 0 is one half.
    margins = {"network": part.logits[rows, wanted] - part.logits[rows, other]}
    for rival in ("svm", "shortcut"):
        scores = answers[rival].scores[name][rows]
        margins[rival] = scores[:, wanted] - scores[:, other]
    return {who: _two_classes(margin, films.labels == wanted, films) for who, margin in margins.items()}


def _two_classes(margin: NDArray[Any], positive: NDArray[np.bool_], films: Films) -> TwoClasses:
    """Films are called positive where the margin [N] is over 0."""
    called = margin > 0
    return TwoClasses(
        films=len(positive),
        accuracy=proportion(int((called == positive).sum()), len(positive)),
        sensitivity=proportion(int((called & positive).sum()), int(positive.sum())),
        specificity=proportion(int((~called & ~positive).sum()), int((~positive).sum())),
        auroc=roc_curve(margin.astype(np.float64), positive, films.patients).auroc,
    )


def _films(parts: Mapping[str, ScoredFilms], fitted: ScoredFilms) -> dict[str, Films]:
    return {name: part.films for name, part in parts.items()} | {"fitted": fitted.films}


def _measured(answers: Baseline, films: Mapping[str, Films]) -> FittedBaseline:
    def measure(name: str, part: Films) -> BaselinePart:
        called = np.eye(len(FINDINGS))[answers.predictions[name]]
        by_class = curves(answers.scores[name], part.labels, FINDINGS, part.patients)
        return BaselinePart(
            summary=patient_summary(called, part.labels, FINDINGS, part.patients),
            auroc={finding: found.roc.auroc for finding, found in by_class.items()},
        )

    return FittedBaseline(chosen=answers.chosen, **{name: measure(name, part) for name, part in films.items()})


def _alone(fitted: Films, films: Films) -> dict[str, StatisticAlone]:
    """AUROC of each statistic alone for COVID-19 against the rest; which way it points is read off the fitted films."""
    wanted = FINDINGS.index("covid19")

    def columns(part: Films) -> dict[str, NDArray[np.float64]]:
        found = dict(zip(STATISTICS, part.statistics.T, strict=True))
        return found | {"shape": np.abs(found["aspect"] - 1)}

    before = columns(fitted)
    result = {}
    for name, values in columns(films).items():
        area = roc_curve(before[name], fitted.labels == wanted, fitted.patients).auroc.value
        lower = area is not None and area < 0.5
        roc = roc_curve(-values if lower else values, films.labels == wanted, films.patients)
        result[name] = StatisticAlone(covid19_has="less" if lower else "more", auroc=roc.auroc)
    return result


def _random(films: Films) -> RandomGuess:
    guess = random_guess(films.labels)
    return RandomGuess(
        summary=patient_summary(np.eye(len(FINDINGS))[guess.predictions], films.labels, FINDINGS, films.patients),
        expected=Expected(accuracy=guess.accuracy, recall=guess.recall, precision=guess.precision),
    )
