"""Another network on the same test films, such as the one that this bundle is to replace."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from model.bundle import Bundle
from model.data.bundle_films import Advance, films_for
from model.data.dataset import MORE
from model.engine.base import Engine
from model.evaluation.comparisons import Difference, difference
from model.evaluation.rivals import BaselinePart
from model.evaluation.scored import ScoredFilms, score_films
from model.json_value import JsonValue
from model.stats.curves import curves
from model.stats.over_patients import patient_summary

if TYPE_CHECKING:
    from model.evaluation.evaluate import Evaluation


@dataclass(frozen=True, kw_only=True)
class OtherNetwork(JsonValue):
    name: str
    version: str
    digest: str
    trained_on: bool
    """Whether it was trained on this prepared set. If not, its training may have held some of the test films."""
    parts: dict[str, BaselinePart]
    """test of this bundle's views and test_all; more, where this network is measured on it."""
    against: dict[str, Difference]
    """By part: this bundle's network minus the other."""

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}"


def with_other_network(
    evaluation: "Evaluation",
    other: Bundle,
    engine: Engine,
    folder: Path,
    advance: Advance = lambda _done, _all: None,
) -> "Evaluation":
    """The evaluation with `other` beside the network, scored on the same test films exactly as it is served.

    Args:
        engine: runs `other`.
        folder: the prepared set that was evaluated.

    Raises:
        DatasetError: the films are prepared otherwise than `other` needs, or it has other findings.
    """
    dataset, content = films_for(other, folder), evaluation.content
    whole = evaluation.scored.where(lambda film: film.split == "test")
    scored = score_films(other, engine, whole.films, advance)
    parts, against = {}, {}
    for name in [part for part in ("test", "test_all", MORE) if part in content.parts]:
        theirs, ours = _part(scored, name, content.data.views), _part(whole, name, content.data.views)
        parts[name] = _measured(theirs)
        against[name] = difference(ours.called, theirs.called, ours.labels, ours.films.patients)
    found = OtherNetwork(
        name=other.name,
        version=other.version,
        digest=other.digest,
        trained_on=other.provenance.get("data_digest") == dataset.digest,
        parts=parts,
        against=against,
    )
    return replace(evaluation, content=replace(content, other_network=found))


def _part(scored: ScoredFilms, name: str, views: tuple[str, ...]) -> ScoredFilms:
    """Of the test films: as `EvaluationContent.parts` has it."""
    part = MORE if name == MORE else "test"
    every = name != "test" or views == ("all",)
    return scored.where(lambda film: film.part == part and (every or film.view in views))


def _measured(part: ScoredFilms) -> BaselinePart:
    films = part.films
    found = curves(part.chances, films.labels, films.findings, films.patients)
    return BaselinePart(
        summary=patient_summary(part.chances, films.labels, films.findings, films.patients),
        auroc={finding: curve.roc.auroc for finding, curve in found.items()},
    )
