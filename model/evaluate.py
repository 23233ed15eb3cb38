"""Everything a bundle is worth on a prepared set, scored exactly as served, with what it must beat beside it.

`evaluate` returns what `write` puts into a folder:

    predictions.csv     one row a film: identity, probabilities (calibrated), logits, flags
    evaluation.json     the same bytes on every run with one engine: no times, no paths, fixed seeds, four digits
    report.html         by `model.report`

evaluation.json:

    bundle          name, version, digest, findings, temperature, operating_points, provenance
    engine          what ran the network: name, precision, device
    data            digest; trained_on: whether the bundle names the same one; views, train_views;
                    films: split -> view -> class -> count; sources: split -> source -> class -> count
    parts           train, val, test (the bundle's views) and test_all (every view), each `measure`
    slices          test films by view, source, and how their label was set, each `slice_of`
    fair            pneumonia against COVID-19 within one source, each `two_classes`; see `model.comparisons`
    baselines       svm, svm_own_views, shortcut: part -> summary; statistics: each alone; random; covidnet
    against         the network against a baseline on test and test_all: McNemar, differences
    paper           published figures, and why they differ
    learning_curve  epochs of the training run; [] where the bundle has none
    studies         what `xrayq study` measured, as given
    wrong           test films called wrongly, most confident first; right: the most confident of each class
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.calibration import probabilities
from model.dataset import SPLITS, Film, Films, load_dataset, open_prepared
from model.decision import OperatingPoint
from model.engine.base import Engine
from model.errors import DatasetError
from model.findings import FINDINGS, REPORT_MINED
from model.metrics import (
    Weights,
    bootstrap,
    calibration_error_interval,
    curves,
    proportion,
    reliability,
    roc_curve,
    summary,
)
from model.scorer import score

NOTICE = "Research software. Not a medical device."
BATCH = 16
CONFIDENT = 6
"""Films of each class shown as the most confident right ones."""
Advance = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Films and what the bundle says of them. Row i of everything is the same film."""

    films: Films
    logits: NDArray[np.float32]
    """[N, findings]"""
    chances: NDArray[np.float64]
    """[N, findings], calibrated."""
    flags: tuple[tuple[str, ...], ...]

    @property
    def labels(self) -> NDArray[np.int64]:
        return self.films.labels

    @property
    def called(self) -> NDArray[np.int64]:
        """[N] index of the most probable finding."""
        return np.asarray(self.chances.argmax(axis=1), np.int64)

    def where(self, wanted: Callable[[Film], bool]) -> "Scored":
        kept = [index for index, film in enumerate(self.films.records) if wanted(film)]
        return Scored(
            films=self.films.where(wanted),
            logits=self.logits[kept],
            chances=self.chances[kept],
            flags=tuple(self.flags[index] for index in kept),
        )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    content: dict[str, Any]
    """What evaluation.json holds."""
    scored: Scored
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
    from model.comparisons import against, baselines, fair  # scikit-learn takes a second to import

    films, spec = open_prepared(folder)
    if bundle.findings != FINDINGS:
        raise DatasetError(f"bundle {bundle.name} finds {', '.join(bundle.findings)}, not {', '.join(FINDINGS)}")
    if spec != bundle.preprocess:
        raise DatasetError(
            f"{folder} was prepared with {_words(spec.as_dict())}, bundle {bundle.name} needs "
            f"{_words(bundle.preprocess.as_dict())}: run 'xrayq prepare' with these"
        )
    views, train_views = (_views(bundle, name) for name in ("views", "train_views"))
    dataset = load_dataset(folder, views=views, train_views=train_views)
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
        "notice": NOTICE,
        "bundle": {
            "name": bundle.name,
            "version": bundle.version,
            "digest": bundle.digest,
            "findings": list(bundle.findings),
            "temperature": bundle.calibration.temperature,
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
    from model.published import PAPER, WHY_DIFFERENT

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


def score_films(bundle: Bundle, engine: Engine, films: Films, advance: Advance) -> Scored:
    found = []
    for start in range(0, len(films), BATCH):
        found += score(engine, bundle, films.take(np.arange(start, min(start + BATCH, len(films)))))
        advance(len(found), len(films))
    logits = np.array([list(one.logits.values()) for one in found], np.float32)
    return Scored(
        films=films,
        logits=logits,
        chances=bundle.calibration.probabilities(logits),
        flags=tuple(one.flags for one in found),
    )


def measure(part: Scored, bundle: Bundle) -> dict[str, Any]:
    """One part of the films.

    Returns:
        {"films", "patients", "summary": as `metrics.summary` with a bootstrap interval in each proportion, "curves": as
        `metrics.curves`, "reliability": {"before" (temperature 1), "after"}: as `metrics.reliability`, "flags":
        finding -> {"threshold", "sensitivity", "specificity", "precision"}}
    """
    labels, patients, called = part.labels, part.films.patients, part.called
    found = summary(part.chances, labels, FINDINGS, patients=patients)
    for index, name in enumerate(FINDINGS):
        hit = (called == index) & (labels == index)
        found["recall"][name] |= {"bootstrap95": share_interval(hit, labels == index, patients)}
        found["precision"][name] |= {"bootstrap95": share_interval(hit, called == index, patients)}
    return {
        "films": part.films.counts(),
        "patients": len(set(patients)),
        "summary": found,
        "curves": curves(part.chances, labels, FINDINGS, patients),
        "reliability": {
            "before": _reliability(probabilities(part.logits, 1.0), labels, patients),
            "after": _reliability(part.chances, labels, patients),
        },
        "flags": {point.finding: _flag(point, part) for point in bundle.operating_points},
    }


def share_interval(hit: NDArray[np.bool_], among: NDArray[np.bool_], patients: Sequence[str]) -> list[float] | None:
    """Patient-bootstrap interval of the share of `among` that is `hit`; both [N]."""

    def statistic(weights: Weights) -> NDArray[np.float64]:
        below = weights @ among.astype(float)
        return np.asarray(np.divide(weights @ (hit & among), below, out=np.full(len(below), np.nan), where=below > 0))

    return bootstrap(statistic, patients)


def mean_interval(values: NDArray[np.float64], patients: Sequence[str]) -> list[float] | None:
    return bootstrap(lambda weights: weights @ values / weights.sum(axis=1), patients)


def slices(test: Scored, test_all: Scored) -> list[dict[str, Any]]:
    """Test films in groups; views over all of them, sources and labels over the bundle's views."""
    groups: list[tuple[str, str, str, Scored]] = [
        ("all", "test", "bundle's views", test),
        ("all", "test", "every view", test_all),
    ]
    for view in sorted({film.view for film in test_all.films.records}):
        groups.append(("view", view, "every view", test_all.where(lambda film, view=view: film.view == view)))  # type: ignore[misc]
    for source in sorted({film.source for film in test.films.records}):
        part = test.where(lambda film, source=source: film.source == source)  # type: ignore[misc]
        groups.append(("source", source or "not said", "bundle's views", part))
    for name, mined in (("confirmed", False), ("report-mined", True)):
        part = test.where(lambda film, mined=mined: (film.label_basis in REPORT_MINED) == mined)  # type: ignore[misc]
        groups.append(("label", name, "bundle's views", part))
    return [
        {"group": group, "name": name, "of": of} | slice_of(part) for group, name, of, part in groups if len(part.films)
    ]


def slice_of(part: Scored) -> dict[str, Any]:
    """{"films", "accuracy", "balanced_accuracy": over the classes that occur, "bootstrap", "recall", "auroc"}"""
    found = summary(part.chances, part.labels, FINDINGS, patients=part.films.patients)
    kept = {name: found[name] for name in ("accuracy", "balanced_accuracy", "bootstrap", "recall")}
    auroc = {
        name: roc_curve(part.chances[:, index], part.labels == index, part.films.patients)["auroc"]
        for index, name in enumerate(FINDINGS)
    }
    return {"films": part.films.counts()} | kept | {"auroc": auroc}


def wrong(part: Scored) -> list[dict[str, Any]]:
    """Films called wrongly, most confident first."""
    return [_about(part, index) for index in _ranked(part) if part.called[index] != part.labels[index]]


def right(part: Scored) -> dict[str, list[dict[str, Any]]]:
    """The most confident films called rightly, of each class."""
    rows = [index for index in _ranked(part) if part.called[index] == part.labels[index]]
    return {
        name: [_about(part, index) for index in rows if part.labels[index] == number][:CONFIDENT]
        for number, name in enumerate(FINDINGS)
    }


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


def predictions_text(scored: Scored) -> str:
    """predictions.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    identity = ("identifier", "split", "view", "source", "label_basis", "label")
    writer.writerow(
        [*identity, "called", *(f"p_{name}" for name in FINDINGS), *(f"logit_{name}" for name in FINDINGS), "flags"]
    )
    for film, called, chances, logits, flags in zip(
        scored.films.records, scored.called, scored.chances, scored.logits, scored.flags, strict=True
    ):
        numbers = [f"{value:.6f}" for value in chances] + [f"{value:.5f}" for value in logits]
        writer.writerow([*(getattr(film, name) for name in identity), FINDINGS[called], *numbers, " ".join(flags)])
    return text.getvalue()


def json_text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"


def write(evaluation: Evaluation, out: Path, report: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(json_text(evaluation.content), encoding="utf-8")
    (out / "predictions.csv").write_text(predictions_text(evaluation.scored), encoding="utf-8")
    (out / "report.html").write_text(report, encoding="utf-8")


def _reliability(chances: NDArray[np.float64], labels: NDArray[np.int64], patients: Sequence[str]) -> dict[str, Any]:
    truth = np.eye(chances.shape[1])[labels]
    losses = -np.log(np.clip((chances * truth).sum(axis=1), 1e-12, 1.0))
    return reliability(chances, labels) | {
        "ece_interval95": calibration_error_interval(chances, labels, patients),
        "brier_interval95": mean_interval(((chances - truth) ** 2).sum(axis=1), patients),
        "log_loss_interval95": mean_interval(losses, patients),
    }


def _flag(point: OperatingPoint, part: Scored) -> dict[str, Any]:
    positive = part.labels == FINDINGS.index(point.finding)
    flagged = np.array([point.finding in flags for flags in part.flags])

    def rate(hit: NDArray[np.bool_], among: NDArray[np.bool_]) -> dict[str, Any]:
        found = proportion(int((hit & among).sum()), int(among.sum()))
        return found | {"bootstrap95": share_interval(hit, among, part.films.patients)}

    return {
        "threshold": point.threshold,
        "sensitivity": rate(flagged, positive),
        "specificity": rate(~flagged, ~positive),
        "precision": rate(positive, flagged),
    }


def _ranked(part: Scored) -> list[int]:
    """Rows by falling probability of the called class; ties by identifier."""
    confidence = part.chances.max(axis=1).round(6)
    return sorted(range(len(confidence)), key=lambda row: (-confidence[row], part.films.records[row].identifier))


def _about(part: Scored, row: int) -> dict[str, Any]:
    film = part.films.records[row]
    return {
        "identifier": film.identifier,
        "label": film.label,
        "called": FINDINGS[part.called[row]],
        "probabilities": {
            name: round(float(value), 4) for name, value in zip(FINDINGS, part.chances[row], strict=True)
        },
        "view": film.view,
        "source": film.source,
        "label_basis": film.label_basis,
    }


def _chosen(split: str, views: tuple[str, ...]) -> Callable[[Film], bool]:
    return lambda film: film.split == split and (not views or film.view in views)


def _views(bundle: Bundle, name: str) -> tuple[str, ...]:
    views = bundle.provenance.get(name, bundle.provenance.get("views", ["PA"]))
    return () if views == ["all"] else tuple(views)


def _tally(films: Films, split: str, column: str) -> dict[str, dict[str, int]]:
    counts = Counter((getattr(film, column), film.label) for film in films.records if film.split == split)
    return {name: {label: counts[name, label] for label in FINDINGS} for name in sorted({name for name, _ in counts})}


def _words(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())
