"""Everything a bundle is worth on a prepared set, scored exactly as served, with what it must beat beside it.

`evaluate` returns what `write` puts into a folder:

    predictions.csv     one row a film: identity, probabilities (calibrated), logits, flags
    evaluation.json     the same bytes on every run with one engine: no times, no paths, fixed seeds, four digits
    report.html         by `model.pages.report`

evaluation.json:

    bundle          name, version, digest, findings, temperature, calibration in words, operating_points,
                    provenance
    engine          what ran the network: name, precision, device
    data            digest; trained_on: whether the bundle names the same one; views, train_views;
                    films: split -> view -> class -> count; sources: split -> source -> class -> count
    parts           train, val, test (the bundle's views) and test_all (every view), each `measure`
    slices          test films by view, source, and how their label was set, each `slice_of`
    fair            pneumonia against COVID-19 within one source, each `two_classes`; see `model.evaluation.comparisons`
    baselines       svm, svm_own_views, shortcut: part -> summary; statistics: each alone; random; covidnet
    against         the network against a baseline on test and test_all: McNemar, differences
    paper           published figures, and why they differ
    learning_curve  epochs of the training run; [] where the bundle has none
    studies         what `xrayq study` measured, as given
    wrong           test films called wrongly, most confident first; right: the most confident of each class
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.bundle import Bundle
from model.data.bundle_films import Advance, films_for
from model.data.dataset import SPLITS, FilmRow, Films, open_prepared
from model.engine.base import Engine
from model.errors import DatasetError
from model.evaluation.scored import ScoredFilms, predictions_text, right, score_films, wrong
from model.evaluation.slices import measure, slices
from model.findings import FINDINGS
from model.notice import MEASURES_NOTICE


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    content: dict[str, Any]
    """What evaluation.json holds."""
    scored: ScoredFilms
    """Every film of the prepared set."""


def evaluate(
    bundle: Bundle,
    engine: Engine,
    folder: Path,
    *,
    studies: Sequence[dict[str, Any]] = (),
    advance: Advance = lambda _done, _all: None,
) -> Evaluation:
    """Score every film of a prepared set and measure.

    Args:
        engine: runs this bundle.
        folder: what `xrayq prepare` wrote.
        studies: from `read_study`.
        advance: called with (films scored, films).

    Raises:
        DatasetError: not a prepared set, prepared otherwise than the bundle needs, or a split lacks a class.
    """
    from model.evaluation.comparisons import against, baselines, fair  # scikit-learn takes a second to import

    dataset = films_for(bundle, folder)
    films, _ = open_prepared(folder)
    views, train_views = dataset.views, dataset.train_views
    for name in SPLITS:
        if name not in dataset.splits or 0 in dataset.splits[name].counts().values():
            raise DatasetError(f"evaluation needs films of every class in {name}; {folder} has not, of these views")
    scored = score_films(bundle, engine, films, advance)
    parts = {name: scored.where(_chosen(name, views)) for name in SPLITS}
    parts["test_all"] = scored.where(_chosen("test", ()))
    fitted = scored.where(_chosen("train", train_views))
    rivals = baselines(parts, fitted)
    content = {
        "schema": 1,
        "notice": MEASURES_NOTICE,
        "bundle": {
            "name": bundle.name,
            "version": bundle.version,
            "digest": bundle.digest,
            "findings": list(bundle.findings),
            "temperature": bundle.calibration.temperature,
            "calibration": bundle.calibration.words,
            "operating_points": [point.as_dict() for point in bundle.operating_points],
            "provenance": bundle.provenance,
        },
        "engine": {"name": engine.spec.name, "precision": engine.spec.precision, "device": engine.spec.device},
        "data": {
            "digest": dataset.digest,
            "trained_on": bundle.provenance.get("data_digest") == dataset.digest,
            "views": list(views) or ["all"],
            "train_views": list(train_views) or ["all"],
            "films": {name: _tally(films, name, "view") for name in SPLITS},
            "sources": {name: _tally(films, name, "source") for name in SPLITS},
            "patients": {name: len({film.patient for film in films.records if film.split == name}) for name in SPLITS},
        },
        "parts": {name: measure(part, bundle) for name, part in parts.items()},
        "slices": slices(parts["test"], parts["test_all"]),
        "fair": fair(parts, rivals),
        "baselines": {name: rival.content for name, rival in rivals.items()},
        "against": against(parts, rivals),
        "learning_curve": bundle.provenance.get("history", []),
        "studies": list(studies),
        "wrong": wrong(parts["test"]),
        "right": right(parts["test"]),
    }
    from model.evaluation.published import PAPER, WHY_DIFFERENT

    theirs = f"It starts from ImageNet weights and has 1,562 training films; ours has {len(fitted.films)}"
    ours = f"{theirs}, and {_start(bundle)}."
    content["paper"] = PAPER | {"why_different": [*WHY_DIFFERENT, ours]}
    return Evaluation(content=content, scored=scored)


def _start(bundle: Bundle) -> str:
    """How the network began, in words."""
    pretraining = bundle.provenance.get("pretraining")
    if pretraining:
        return f"starts from a trunk pretrained on {pretraining['films']:,} chest films of other sources"
    return f"starts from: {bundle.provenance.get('initial_weights', 'weights not said')}"


def read_study(path: Path) -> dict[str, Any]:
    """A study's JSON, as `xrayq study` wrote it. Raises DatasetError."""
    try:
        study = json.loads(path.read_text(encoding="utf-8"))
        width = len(study["columns"])
        if not all(isinstance(study[key], str) for key in ("study", "title", "note")):
            raise ValueError("study, title and note are texts")
        if not all(len(row) == width for row in study["rows"]):
            raise ValueError(f"a row has not {width} cells")
        return {key: study[key] for key in ("study", "title", "columns", "rows", "note", "provenance")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is not a study of 'xrayq study': {error}") from None


def json_text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"


def write(evaluation: Evaluation, out: Path, report: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(json_text(evaluation.content), encoding="utf-8")
    (out / "predictions.csv").write_text(predictions_text(evaluation.scored), encoding="utf-8")
    (out / "report.html").write_text(report, encoding="utf-8")


def _chosen(split: str, views: tuple[str, ...]) -> Callable[[FilmRow], bool]:
    return lambda film: film.split == split and (not views or film.view in views)


def _tally(films: Films, split: str, column: str) -> dict[str, dict[str, int]]:
    counts = Counter((getattr(film, column), film.label) for film in films.records if film.split == split)
    return {name: {label: counts[name, label] for label in FINDINGS} for name in sorted({name for name, _ in counts})}
