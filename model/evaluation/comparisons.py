"""The network beside the fitted baselines, film by film, and within one source alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import FilmRow, Films
from model.evaluation.baselines import Baseline
from model.evaluation.questions import FAIR
from model.evaluation.scored import ScoredFilms
from model.json_value import JsonValue
from model.stats.binomial import proportion
from model.stats.curves import Area, roc_curve
from model.stats.estimate import Estimate, Proportion
from model.stats.paired import mean_gain
from model.stats.summaries import Labels, McNemar, mcnemar

FAIR_CLASSES = (*FAIR.negatives.labels, *FAIR.positives.labels)


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
    """The question `questions.FAIR`, pneumonia against COVID-19 within one source, with the baselines' answers beside
    the network's; None where the source has not both classes."""

    source: str
    classes: tuple[str, ...]
    test: dict[str, TwoClasses] | None
    """By who answers: network, svm, shortcut."""
    test_all: dict[str, TwoClasses] | None

    def parts(self) -> dict[str, dict[str, TwoClasses]]:
        """Those with both classes."""
        both = {"test": self.test, "test_all": self.test_all}
        return {name: answers for name, answers in both.items() if answers is not None}


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
    """McNemar's test, and first minus second with score intervals: accuracy and balanced accuracy."""
    gain = (first == labels).astype(np.float64) - (second == labels)
    films = np.arange(len(labels))
    return Difference(
        mcnemar=mcnemar(first, second, labels),
        accuracy=mean_gain(gain, patients, [films]),
        balanced_accuracy=mean_gain(gain, patients, [films[labels == index] for index in np.unique(labels)]),
    )


def fair(parts: Mapping[str, ScoredFilms], answers: Mapping[str, Baseline]) -> FairSlice | None:
    """By the network, the SVM and the films' statistics. None of films with other findings than these."""
    if not {*FAIR_CLASSES} <= set(parts["test"].films.findings):
        return None
    return FairSlice(
        source=FAIR.positives.source,
        classes=FAIR_CLASSES,
        test=_fair("test", parts["test"], answers),
        test_all=_fair("test_all", parts["test_all"], answers),
    )


def _fair(name: str, part: ScoredFilms, answers: Mapping[str, Baseline]) -> dict[str, TwoClasses] | None:
    def chosen(film: FilmRow) -> bool:
        return FAIR.positives.has(film) or FAIR.negatives.has(film)

    other, wanted = (part.films.findings.index(finding) for finding in FAIR_CLASSES)
    rows = [row for row, film in enumerate(part.films.records) if chosen(film)]
    films = part.films.where(chosen)
    if len(set(films.labels)) < 2:
        return None
    margins = {"network": FAIR.scores(part.chances[rows], part.films.findings)}
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
