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
                    films: split -> view -> class -> count; sources: split -> source -> class -> count
    parts           train, val, test (the bundle's views) and test_all (every view), each `PartMeasures`
    slices          test films by view, source, and how their label was set, each `SliceMeasures`
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
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.bundle import Bundle, trunk_stories
from model.data.bundle_films import Advance, films_for
from model.data.dataset import SPLITS, Dataset, FilmRow, Films, open_prepared
from model.decision import OperatingPoint
from model.engine.base import Engine
from model.errors import DatasetError
from model.evaluation.comparisons import Difference, FairSlice, against, fair
from model.evaluation.other_network import OtherNetwork
from model.evaluation.papers import PAPER, Paper
from model.evaluation.rivals import Baselines, baselines, fit_baselines
from model.evaluation.scored import CalledFilm, ScoredFilms, predictions_text, right, score_films, wrong
from model.evaluation.slices import PartMeasures, SliceMeasures, measure, slices
from model.findings import FINDINGS
from model.json_value import JsonValue, ReadableJson
from model.notice import MEASURES_NOTICE
from model.study_table import Study

FilmCounts = dict[str, dict[str, dict[str, int]]]
"""Split -> view or source -> class -> films."""


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
class EvaluatedFilms(JsonValue):
    digest: str
    trained_on: bool
    """Whether the bundle names the same digest."""
    views: tuple[str, ...]
    """Views that validation and test are measured on; all for every view."""
    train_views: tuple[str, ...]
    films: FilmCounts
    """By view."""
    sources: FilmCounts
    patients: dict[str, int]
    """By split."""


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
    """train, val and test of the bundle's views, and test_all."""
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
    other_network: OtherNetwork | None = None
    """None, and not in the JSON, where none was given."""

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().as_dict().items() if name != "other_network" or value}

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
    advance: Advance = lambda _done, _all: None,
) -> Evaluation:
    """Score every film of a prepared set and measure.

    Args:
        engine: runs this bundle.
        folder: what `xrayq prepare` wrote.
        studies: from `model.study_table.read_study`.
        advance: called with (films scored, films).

    Raises:
        DatasetError: not a prepared set, prepared otherwise than the bundle needs, or a split lacks a class.
    """
    dataset = films_for(bundle, folder)
    films, _ = open_prepared(folder)
    views = dataset.views
    for name in SPLITS:
        if name not in dataset.splits or 0 in dataset.splits[name].counts().values():
            raise DatasetError(f"evaluation needs films of every class in {name}; {folder} has not, of these views")
    scored = score_films(bundle, engine, films, advance)
    parts = {name: scored.where(_chosen(name, views)) for name in SPLITS}
    parts["test_all"] = scored.where(_chosen("test", ()))
    fitted = scored.where(_chosen("train", dataset.train_views))
    answers = fit_baselines(parts, fitted)
    content = EvaluationContent(
        bundle=_bundle(bundle),
        engine=ScoredBy(name=engine.spec.name, precision=engine.spec.precision, device=engine.spec.device),
        data=_data(bundle, dataset, films),
        parts={name: measure(part, bundle) for name, part in parts.items()},
        slices=slices(parts["test"], parts["test_all"]),
        fair=fair(parts, answers),
        baselines=baselines(parts, fitted, answers),
        against=against(parts, answers),
        learning_curve=bundle.provenance.get("history", []),
        studies=tuple(studies),
        wrong=wrong(parts["test"]),
        right=right(parts["test"]),
        paper=_paper(bundle, len(fitted.films)) if bundle.findings == FINDINGS else None,
    )
    return Evaluation(content=content, scored=scored)


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


def _data(bundle: Bundle, dataset: Dataset, films: Films) -> EvaluatedFilms:
    return EvaluatedFilms(
        digest=dataset.digest,
        trained_on=bundle.provenance.get("data_digest") == dataset.digest,
        views=dataset.views or ("all",),
        train_views=dataset.train_views or ("all",),
        films={name: _tally(films, name, "view") for name in SPLITS},
        sources={name: _tally(films, name, "source") for name in SPLITS},
        patients={name: len({film.patient for film in films.records if film.part == name}) for name in SPLITS},
    )


def _paper(bundle: Bundle, films: int) -> Paper:
    """The paper's figures, and how its start differs from this bundle's, fitted on so many films."""
    start = f"It starts from ImageNet weights and has 1,562 training films; ours has {films}, and {_start(bundle)}."
    return replace(PAPER, why_different=(*PAPER.why_different, start))


def _start(bundle: Bundle) -> str:
    """How the network began, in words."""
    stories = trunk_stories(bundle)
    words = [
        f"a trunk pretrained on {story['films']:,} chest films of other sources"
        if "films" in story
        else f"weights of others ({story.get('licence') or story['checkpoint']})"
        for story in stories
    ]
    if words:
        return f"starts from {', which began with '.join(words)}"
    return f"starts from: {bundle.provenance.get('initial_weights', 'weights not said')}"


def json_text(content: JsonValue) -> str:
    return json.dumps(content.as_dict(), indent=1, sort_keys=True, allow_nan=False) + "\n"


def write(evaluation: Evaluation, out: Path, report: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(json_text(evaluation.content), encoding="utf-8")
    predictions = predictions_text(evaluation.scored, evaluation.content.bundle.digest)
    (out / "predictions.csv").write_text(predictions, encoding="utf-8")
    (out / "report.html").write_text(report, encoding="utf-8")


def _chosen(split: str, views: tuple[str, ...]) -> Callable[[FilmRow], bool]:
    return lambda film: film.part == split and (not views or film.view in views)


def _tally(films: Films, split: str, column: str) -> dict[str, dict[str, int]]:
    counts = Counter((getattr(film, column), film.label) for film in films.records if film.part == split)
    return {
        name: {label: counts[name, label] for label in films.findings} for name in sorted({name for name, _ in counts})
    }
