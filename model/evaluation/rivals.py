"""The baselines fitted and measured on the films that the network is measured on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import MORE, STATISTICS, Films
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
from model.json_value import JsonValue, SparseJson
from model.stats.curves import Area, curves, roc_curve
from model.stats.over_patients import PatientSummary, patient_summary
from model.stats.summaries import Summary, confusion_summary

COVID = "covid19"


@dataclass(frozen=True, kw_only=True)
class BaselinePart(JsonValue):
    """What a fitted baseline reaches on one part of the films."""

    summary: PatientSummary
    auroc: dict[str, Area]
    """By class."""


@dataclass(frozen=True, kw_only=True)
class FittedBaseline(SparseJson):
    chosen: SvmChoice | ProbeChoice
    train: BaselinePart
    val: BaselinePart
    test: BaselinePart
    test_all: BaselinePart
    fitted: BaselinePart
    """The films that it was fitted for: those of the network's training views."""
    more: BaselinePart | None = None
    """None, and not in the JSON, where there are no such films, and in an evaluation of an earlier release."""

    def parts(self) -> dict[str, BaselinePart]:
        """Those that the network is measured on, too."""
        more = {MORE: self.more} if self.more else {}
        return {"train": self.train, "val": self.val, "test": self.test, "test_all": self.test_all} | more


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
    """By class; so is the field below."""
    precision: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RandomGuess(JsonValue):
    summary: PatientSummary
    """What one draw gives."""
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
    """Part -> statistic; nothing where COVID-19 is no finding."""
    random: dict[str, RandomGuess]
    """By part."""
    covidnet: CovidNet | None = None
    """None, and not in the JSON, where the findings are not the paper's."""

    def fitted(self) -> dict[str, FittedBaseline]:
        own = {"svm_own_views": self.svm_own_views} if self.svm_own_views else {}
        return {"svm": self.svm} | own | {"shortcut": self.shortcut}

    def as_dict(self) -> dict[str, Any]:
        plain = super().as_dict()
        return {name: value for name, value in plain.items() if value is not None}


def fit_baselines(parts: Mapping[str, ScoredFilms], fitted: ScoredFilms) -> dict[str, Baseline]:
    """Answers of svm and shortcut (fitted on `fitted`), and of svm_own_views (on the bundle's views alone, where these
    are fewer).

    Args:
        parts: films to answer for, `train`, `val`, `test`, `test_all`, and `more` where there are such films.
        fitted: the films that the network was fitted on.

    Raises:
        DatasetError: a baseline cannot be fitted.
    """
    films, classes = _films(parts, fitted), len(fitted.films.findings)
    labels = {name: part.labels for name, part in films.items()}
    images = {name: part.images for name, part in films.items()}
    statistics = {name: part.statistics for name, part in films.items()}
    try:
        answers = {"svm": svm(images, labels, train="fitted", classes=classes)}
        if len(films["fitted"]) > len(films["train"]):
            answers["svm_own_views"] = svm(images, labels, train="train", classes=classes)
        answers["shortcut"] = shortcut_probe(statistics, labels, train="fitted", classes=classes)
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
        covidnet=(
            CovidNet(**vars(confusion_summary(covidnet(), FINDINGS)), basis=COVIDNET_BASIS)
            if fitted.films.findings == FINDINGS
            else None
        ),
    )


def _films(parts: Mapping[str, ScoredFilms], fitted: ScoredFilms) -> dict[str, Films]:
    return {name: part.films for name, part in parts.items()} | {"fitted": fitted.films}


def _measured(answers: Baseline, films: Mapping[str, Films]) -> FittedBaseline:
    def measure(name: str, part: Films) -> BaselinePart:
        called = np.eye(len(part.findings))[answers.predictions[name]]
        by_class = curves(answers.scores[name], part.labels, part.findings, part.patients)
        return BaselinePart(
            summary=patient_summary(called, part.labels, part.findings, part.patients),
            auroc={finding: found.roc.auroc for finding, found in by_class.items()},
        )

    return FittedBaseline(chosen=answers.chosen, **{name: measure(name, part) for name, part in films.items()})


def _alone(fitted: Films, films: Films) -> dict[str, StatisticAlone]:
    """AUROC of each statistic alone for COVID-19 against the rest; which way it points is read off the fitted films."""
    if COVID not in films.findings:
        return {}
    wanted = films.findings.index(COVID)

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
    classes = len(films.findings)
    guess = random_guess(films.labels, classes=classes)
    return RandomGuess(
        summary=patient_summary(np.eye(classes)[guess.predictions], films.labels, films.findings, films.patients),
        expected=Expected(accuracy=guess.accuracy, recall=guess.recall, precision=guess.precision),
    )
