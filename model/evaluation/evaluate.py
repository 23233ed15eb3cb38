"""Everything a bundle is worth on a prepared set, scored exactly as served, with what it must beat beside it.

`evaluate` returns what `write` puts into a folder:

    predictions.csv     one row a film: identity, probabilities (calibrated), logits, flags, prediction set, whether it
                        is unsure, patient, bundle; `xrayq simulate` and `calibrate --labels` read it
    evaluation.json     the same bytes on every run with one engine: no times, no paths, fixed seeds, four digits
    report.html         by `model.pages.report`

evaluation.json:

    bundle          name, version, digest, findings, temperature, calibration in words, operating_points,
                    provenance
    engine          what ran the network: name, precision, device
    data            digest; trained_on: whether the bundle names the same one; views, train_views;
                    films: part -> view -> class -> count; sources: part -> source -> class -> count; people: part ->
                    class, or all of them -> age, sex, view, source, label basis; flow: what preparing left out
    parts           train, val, test (the bundle's views), test_all (every view), and where there are such films more
                    (the subset of that name, every view, in none of the others), each `PartMeasures`
    slices          films of test and of more by view, source, label, sex and age, each `SliceMeasures`
    questions       these films against those, each `questions.Answer`
    normals_flagged shares of normal films under each flag and under any, each `normals.NormalsFlagged`
    other_films     films that no training of the network saw: `NeverTrainedParts`; not there where none were given
    copies          the same films from other copies: `copies.CopiesMeasured`; not there where none were given
    fair            pneumonia against COVID-19 within one source: `FairSlice`; null where there are other findings
    baselines       svm, svm_own_views, shortcut: part -> summary; statistics: each alone; random; covidnet: `Baselines`
    against         the network against a baseline on test and test_all, each `Difference`
    other_network   another network on the same test films: `OtherNetwork`; not there where none was given
    paper           published figures, and why they differ; null where there are other findings
    learning_curve  epochs of the training run; [] where the bundle has none
    studies         what `xrayq study` measured, as given
    wrong           test films called wrongly, most confident first; right: the most confident of each class
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.atomic_files import write_texts
from model.bundle import Bundle
from model.data.bundle_films import Advance, films_for
from model.data.dataset import MORE, SPLITS, FilmRow, Films, open_prepared
from model.data.flow import read_flow
from model.data.never_trained import held_out_films, unseen_films
from model.data.seen_films import require_own_set
from model.decision import OperatingPoint
from model.engine.base import Engine
from model.errors import DatasetError
from model.evaluation.comparisons import Difference, FairSlice, against, fair
from model.evaluation.copies import CopiesMeasured, measure_copies, open_copies
from model.evaluation.evaluated_films import EvaluatedFilms, NeverTrainedParts, evaluated_films, never_trained_parts
from model.evaluation.normals import UNSEEN, NormalsFlagged, normals_flagged
from model.evaluation.other_network import OtherNetwork
from model.evaluation.papers import Paper, paper_beside
from model.evaluation.questions import AUXILIARY, Answer, answers
from model.evaluation.rivals import Baselines, baselines, fit_baselines
from model.evaluation.scored import CalledFilm, ScoredFilms, predictions_text, right, score_films, wrong
from model.evaluation.slices import PartMeasures, SliceMeasures, measure, slices
from model.findings import FINDINGS
from model.json_value import JsonValue, ReadableJson
from model.notice import MEASURES_NOTICE
from model.study_table import Study


@dataclass(frozen=True, kw_only=True)
class EvaluatedBundle(JsonValue):
    name: str
    version: str
    digest: str
    findings: tuple[str, ...]
    temperature: float
    calibration: str
    """In words."""
    operating_points: tuple[OperatingPoint, ...]
    provenance: dict[str, Any]
    """As in the manifest."""


@dataclass(frozen=True, kw_only=True)
class ScoredBy(JsonValue):
    """What ran the network."""

    name: str
    precision: str
    device: str


@dataclass(frozen=True, kw_only=True)
class LearningEpoch(ReadableJson):
    """What one epoch of the training run did."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    member: int = 1
    best: bool = False
    """The best of its member so far."""


@dataclass(frozen=True, kw_only=True)
class EvaluationContent(ReadableJson):
    """What evaluation.json holds."""

    schema: int = 1
    notice: str = MEASURES_NOTICE
    bundle: EvaluatedBundle
    engine: ScoredBy
    data: EvaluatedFilms
    parts: dict[str, PartMeasures]
    """train, val and test of the bundle's views, test_all, and more where there are such films."""
    slices: tuple[SliceMeasures, ...]
    fair: FairSlice | None
    """None, as `paper`, where the findings are not the paper's."""
    baselines: Baselines
    against: dict[str, dict[str, Difference]]
    """Fitted baseline -> part."""
    learning_curve: list[Any]
    """Epochs as the manifest has them; `epochs` reads them."""
    studies: tuple[Study, ...]
    wrong: tuple[CalledFilm, ...]
    """Test films called wrongly, most confident first."""
    right: dict[str, tuple[CalledFilm, ...]]
    """The most confident test films called rightly, by class."""
    paper: Paper | None
    questions: tuple[Answer, ...] | None = None
    """None, and not in the JSON, in an evaluation of an earlier release, as the next."""
    normals_flagged: tuple[NormalsFlagged, ...] | None = None
    other_films: NeverTrainedParts | None = None
    """None, and not in the JSON, where none were given, as the next."""
    copies: CopiesMeasured | None = None
    other_network: OtherNetwork | None = None

    def as_dict(self) -> dict[str, Any]:
        maybe = ("questions", "normals_flagged", "other_films", "copies", "other_network")
        absent = {name for name in maybe if getattr(self, name) is None}
        return {name: value for name, value in super().as_dict().items() if name not in absent}

    @property
    def epochs(self) -> tuple[LearningEpoch, ...]:
        return tuple(LearningEpoch.read(epoch) for epoch in self.learning_curve)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    content: EvaluationContent
    scored: ScoredFilms
    """Every film of the prepared set."""


def evaluate(
    bundle: Bundle,
    engine: Engine,
    folder: Path,
    *,
    studies: Sequence[Study] = (),
    auxiliary: Sequence[Path] = (),
    unseen: Sequence[tuple[Path, str]] = (),
    copies: Path | None = None,
    advance: Advance = lambda _done, _all: None,
) -> Evaluation:
    """Score every film of a prepared set and measure.

    Args:
        engine: runs this bundle.
        folder: what `xrayq prepare` wrote.
        studies: from `model.study_table.read_study`.
        auxiliary: auxiliary sets, whose films of patients held out of every training are scored too.
        unseen: auxiliary sets, each with "source:label" of its normal films of a source that no training had.
        copies: a prepared set of the same films from other copies.
        advance: called with (films scored, films), set by set.

    Raises:
        DatasetError: not a prepared set, prepared otherwise than the bundle needs, a split lacks a class, the films of
            the other arguments are not what they should be, or `auxiliary` or `unseen` is given and the bundle was not
            trained on this set. All that before a film is scored.
    """
    dataset = films_for(bundle, folder)
    films, _ = open_prepared(folder)
    views = dataset.views
    for name in SPLITS:
        if name not in dataset.splits or 0 in dataset.splits[name].counts().values():
            raise DatasetError(f"evaluation needs films of every class in {name}; {folder} has not, of these views")
    if auxiliary or unseen:
        require_own_set(bundle, dataset, folder)
    to_score = _never_trained(bundle, auxiliary, unseen, films)
    copied = open_copies(bundle, copies, films) if copies else None
    scored = score_films(bundle, engine, films, advance)
    never_trained = {name: score_films(bundle, engine, part, advance) for name, part in to_score.items()}
    parts = {name: scored.where(_chosen(name, views)) for name in SPLITS}
    parts["test_all"] = scored.where(_chosen("test", ()))
    more = scored.where(_chosen(MORE, ()))
    parts |= {MORE: more} if len(more.films) else {}
    fitted = scored.where(_chosen("train", dataset.train_views))
    rival_answers = fit_baselines(parts, fitted)
    content = EvaluationContent(
        bundle=_bundle(bundle),
        engine=ScoredBy(name=engine.spec.name, precision=engine.spec.precision, device=engine.spec.device),
        data=evaluated_films(bundle, dataset, films, read_flow(folder)),
        parts={name: measure(part, bundle) for name, part in parts.items()},
        slices=slices(parts["test"], parts["test_all"], parts.get(MORE)),
        fair=fair(parts, rival_answers),
        baselines=baselines(parts, fitted, rival_answers),
        against=against(parts, rival_answers),
        learning_curve=bundle.provenance.get("history", []),
        studies=tuple(studies),
        wrong=wrong(parts["test"]),
        right=right(parts["test"]),
        paper=paper_beside(bundle, len(fitted.films)) if bundle.findings == FINDINGS else None,
        questions=answers(parts | never_trained),
        normals_flagged=normals_flagged(parts | never_trained, bundle),
        other_films=never_trained_parts(bundle, never_trained),
        copies=measure_copies(bundle, engine, scored, copied, advance) if copied else None,
    )
    return Evaluation(content=content, scored=scored)


def _never_trained(
    bundle: Bundle, auxiliary: Sequence[Path], unseen: Sequence[tuple[Path, str]], prepared: Films
) -> dict[str, Films]:
    """By part."""
    found = {}
    if auxiliary:
        found[AUXILIARY] = held_out_films(bundle, auxiliary, prepared)
    if unseen:
        found[UNSEEN] = unseen_films(bundle, unseen, prepared)
    return found


def _bundle(bundle: Bundle) -> EvaluatedBundle:
    return EvaluatedBundle(
        name=bundle.name,
        version=bundle.version,
        digest=bundle.digest,
        findings=bundle.findings,
        temperature=bundle.calibration.temperature,
        calibration=bundle.calibration.words,
        operating_points=bundle.operating_points,
        provenance=bundle.provenance,
    )


def json_text(content: JsonValue) -> str:
    return json.dumps(content.as_dict(), indent=1, sort_keys=True, allow_nan=False) + "\n"


def write(evaluation: Evaluation, out: Path, report: str) -> None:
    """All three files or none."""
    out.mkdir(parents=True, exist_ok=True)
    texts = {
        "evaluation.json": json_text(evaluation.content),
        "predictions.csv": predictions_text(evaluation.scored, evaluation.content.bundle.digest),
        "report.html": report,
    }
    write_texts({out / name: text for name, text in texts.items()})


def _chosen(split: str, views: tuple[str, ...]) -> Callable[[FilmRow], bool]:
    return lambda film: film.part == split and (not views or film.view in views)
