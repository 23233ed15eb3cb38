"""The questions that matter: does the network tell these films from those, of one source?

Each is a row of QUESTIONS. Its score is the probability that a flag stands on, so the area says what that flag could
reach with another threshold. For pneumonia against normal this is 1 - p(normal), of "not normal": it is the flag that a
hospital sees first, and it is rightly up on a pneumonia taken for COVID-19, which p(pneumonia) counts as missed. Only
COVID-19 against pneumonia is judged by the odds of the two, as the films are known to be one or the other.

One source is not one origin: its two kinds of films may still differ in web site, device, view or age.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.data.auxiliary import READINGS
from model.data.dataset import MORE, FilmRow
from model.decision import chance_of
from model.evaluation.scored import ScoredFilms
from model.findings import NOT_NORMAL, SPOKEN
from model.json_value import JsonValue
from model.stats.estimate import Estimate
from model.stats.roc_area import FEWEST_PATIENTS, area_interval
from model.stats.summaries import four_digits

AUXILIARY = "auxiliary"
"""Part: films of auxiliary sets that no training saw."""
TEST, TEST_ALL = "test", "test_all"
NO_OPACITY = next(reading for reading, label in READINGS.items() if label == "rsna:Not Normal")
TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, kw_only=True)
class Side:
    """Films of one source, by label or reading."""

    words: str
    source: str
    parts: tuple[str, ...]
    labels: tuple[str, ...] = ()
    readings: tuple[str, ...] = ()
    """Films without a label, too, that radiologists read so."""

    def has(self, film: FilmRow) -> bool:
        if film.source != self.source:
            return False
        return film.label in self.labels if film.label else film.reading in self.readings


@dataclass(frozen=True, kw_only=True)
class Question:
    name: str
    positives: Side
    negatives: Side
    finding: str
    """Its probability is the score, NOT_NORMAL included."""
    against: str = ""
    """Only the odds of the finding against this one are the score."""

    @property
    def score(self) -> str:
        """In words."""
        said = "1 - p(normal)" if self.finding == NOT_NORMAL else f"p({self.finding})"
        return f"{said} against p({self.against})" if self.against else said

    def scores(self, chances: NDArray[np.float64], findings: tuple[str, ...]) -> NDArray[np.float64]:
        """[N], higher for the positives. Odds come as their logarithm, over 0 where the finding is the likelier one."""
        own = chance_of(self.finding, chances, findings)
        if not self.against:
            return own
        return np.log(np.maximum(own, TINY)) - np.log(np.maximum(chance_of(self.against, chances, findings), TINY))


def _within(source: str, parts: tuple[str, ...], positive: str, negative: str, name: str, **score: str) -> Question:
    """Two labels of one source."""
    return Question(
        name=name,
        positives=Side(words=SPOKEN[positive], source=source, parts=parts, labels=(positive,)),
        negatives=Side(words=SPOKEN[negative], source=source, parts=parts, labels=(negative,)),
        finding=score.get("finding", positive),
        against=score.get("against", ""),
    )


FAIR = _within(
    "ieee8023",
    (TEST_ALL,),
    "covid19",
    "pneumonia",
    "covid19_pneumonia_ieee8023",
    finding="covid19",
    against="pneumonia",
)
"""The one source of cxr3 with both pneumonia and COVID-19. It gathers films of several web sites, and the site
may still tell the two apart."""
QUESTIONS = (
    _within("nih", (TEST,), "pneumonia", "normal", "pneumonia_normal_nih_test", finding=NOT_NORMAL),
    _within("nih", (TEST_ALL,), "pneumonia", "normal", "pneumonia_normal_nih_test_all", finding=NOT_NORMAL),
    _within("nih", (MORE,), "pneumonia", "normal", "pneumonia_normal_nih_more", finding=NOT_NORMAL),
    _within("siim", (MORE,), "covid19", "normal", "covid19_normal_siim_more"),
    _within("siim", (MORE,), "covid19", "normal", "covid19_normal_siim_more_not_normal", finding=NOT_NORMAL),
    FAIR,
    Question(
        name="pneumonia_no_opacity_nih",
        positives=Side(words="pneumonia", source="nih", parts=(TEST_ALL, MORE), labels=("pneumonia",)),
        negatives=Side(words="not normal without opacity", source="nih", parts=(AUXILIARY,), readings=(NO_OPACITY,)),
        finding="pneumonia",
    ),
    Question(
        name="not_normal_normal_nih",
        positives=Side(
            words="pneumonia or not normal without opacity",
            source="nih",
            parts=(TEST_ALL, MORE, AUXILIARY),
            labels=("pneumonia",),
            readings=(NO_OPACITY,),
        ),
        negatives=Side(words="normal", source="nih", parts=(TEST_ALL, MORE, AUXILIARY), labels=("normal",)),
        finding=NOT_NORMAL,
    ),
)


@dataclass(frozen=True, kw_only=True)
class SideFilms(JsonValue):
    words: str
    films: int
    patients: int


@dataclass(frozen=True, kw_only=True)
class Answer(JsonValue):
    """The area under the ROC curve of one question."""

    name: str
    words: str
    part: str
    """Parts that the films are of: test (the bundle's views), test_all (every view), more, auxiliary. With no film of
    any of them, those that the question asks for."""
    score: str
    positives: SideFilms
    negatives: SideFilms
    auroc: Estimate | None
    reason: str | None
    """Why there is none."""


def answers(parts: Mapping[str, ScoredFilms]) -> tuple[Answer, ...]:
    """To the questions about findings that the films have.

    Args:
        parts: test, test_all, and where there are such films more and auxiliary.
    """
    findings = parts[TEST].films.findings
    return tuple(_answer(question, parts) for question in QUESTIONS if _asked(question) <= set(findings))


def _asked(question: Question) -> set[str]:
    named = {question.finding, question.against, *question.positives.labels, *question.negatives.labels}
    return named - {NOT_NORMAL, ""}


def _answer(question: Question, parts: Mapping[str, ScoredFilms]) -> Answer:
    sides = question.positives, question.negatives
    asked = [name for name in (TEST, TEST_ALL, MORE, AUXILIARY) if any(name in side.parts for side in sides)]
    (above, own), (below, theirs) = (_films(side, question, parts) for side in sides)
    reason, auroc = _too_few(question, parts, (own, theirs)), None
    if reason is None:
        scores, positive = np.concatenate([above, below]), np.arange(len(above) + len(below)) < len(above)
        value = float((above[:, None] > below).mean() + (above[:, None] == below).mean() / 2)
        auroc = Estimate(value=four_digits(value), interval95=area_interval(scores, positive, [*own, *theirs]))
    first, second = (
        SideFilms(words=side.words, films=len(of), patients=len(set(of)))
        for side, of in zip(sides, (own, theirs), strict=True)
    )
    return Answer(
        name=question.name,
        words=f"{question.positives.source}: {first.words} against {second.words}",
        part=" + ".join([name for name in asked if name in parts] or asked),
        score=question.score,
        positives=first,
        negatives=second,
        auroc=auroc,
        reason=reason,
    )


def _films(
    side: Side, question: Question, parts: Mapping[str, ScoredFilms]
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Scores [N] and patients of a side's films."""
    chosen = [parts[name].where(side.has) for name in side.parts if name in parts]
    scores = [question.scores(part.chances, part.films.findings) for part in chosen]
    return np.concatenate([np.empty(0), *scores]), tuple(name for part in chosen for name in part.films.patients)


def _too_few(
    question: Question, parts: Mapping[str, ScoredFilms], patients: tuple[tuple[str, ...], tuple[str, ...]]
) -> str | None:
    sides = question.positives, question.negatives
    if AUXILIARY not in parts and any(side.readings for side in sides):
        return "needs auxiliary films that no training saw: --auxiliary"
    few = [side.words for side, of in zip(sides, patients, strict=True) if len(set(of)) < FEWEST_PATIENTS]
    return f"fewer than {FEWEST_PATIENTS} patients have such films: {'; '.join(few)}" if few else None
