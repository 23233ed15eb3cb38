"""Which films an evaluation is of, as it says itself."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from model.bundle import Bundle
from model.data.dataset import MORE, PARTS, SPLITS, Dataset, Films
from model.data.flow import Flow
from model.data.never_trained import digest_of
from model.data.seen_films import held_out_share
from model.evaluation.people import People, people_of
from model.evaluation.questions import AUXILIARY
from model.evaluation.scored import ScoredFilms
from model.json_value import JsonValue, SparseJson

FilmCounts = dict[str, dict[str, dict[str, int]]]
"""Part -> view or source -> class -> films."""


@dataclass(frozen=True, kw_only=True)
class EvaluatedFilms(SparseJson):
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
    """By part."""
    people: dict[str, dict[str, People]] | None = None
    """By part and class, or all classes. None in an evaluation of an earlier release."""
    flow: Flow | None = None
    """What preparing left out; None where an earlier release prepared the films."""


@dataclass(frozen=True, kw_only=True)
class NeverTrainedFilms(JsonValue):
    """Films of one source that no training of the network saw, in no prepared set. Its gate may have."""

    part: str
    """auxiliary: held out by patient; unseen: of a source that no training had."""
    source: str
    films: int
    patients: int
    readings: dict[str, int]
    """By what radiologists saw; "" where none did."""


@dataclass(frozen=True, kw_only=True)
class NeverTrainedParts(JsonValue):
    held_out: float | None
    """Share of the auxiliary patients that all trainings left out; None where no auxiliary films were given."""
    digests: dict[str, str]
    """SHA-256 over the films of each part."""
    films: tuple[NeverTrainedFilms, ...]


def evaluated_films(bundle: Bundle, dataset: Dataset, films: Films, flow: Flow | None) -> EvaluatedFilms:
    parts = {name: dataset.splits[name] for name in SPLITS}
    parts["test_all"] = films.where(lambda film: film.part == "test")
    parts[MORE] = films.where(lambda film: film.part == MORE)
    names = [name for name in PARTS if name in SPLITS or any(film.part == name for film in films.records)]
    return EvaluatedFilms(
        digest=dataset.digest,
        trained_on=bundle.provenance.get("data_digest") == dataset.digest,
        views=dataset.views or ("all",),
        train_views=dataset.train_views or ("all",),
        films={name: _tally(films, name, "view") for name in names},
        sources={name: _tally(films, name, "source") for name in names},
        patients={name: len({film.patient for film in films.records if film.part == name}) for name in names},
        people={name: people_of(part) for name, part in parts.items() if len(part)},
        flow=flow,
    )


def never_trained_parts(bundle: Bundle, parts: Mapping[str, ScoredFilms]) -> NeverTrainedParts | None:
    """Of the parts auxiliary and unseen, those that there are; None without any."""
    if not parts:
        return None
    found = []
    for name, part in parts.items():
        for source in sorted({film.source for film in part.films.records}):
            records = [film for film in part.films.records if film.source == source]
            films = NeverTrainedFilms(
                part=name,
                source=source,
                films=len(records),
                patients=len({film.patient for film in records}),
                readings=dict(sorted(Counter(film.reading for film in records).items())),
            )
            found.append(films)
    return NeverTrainedParts(
        held_out=held_out_share(bundle) if AUXILIARY in parts else None,
        digests={name: digest_of(part.films) for name, part in parts.items()},
        films=tuple(found),
    )


def _tally(films: Films, split: str, column: str) -> dict[str, dict[str, int]]:
    counts = Counter((getattr(film, column), film.label) for film in films.records if film.part == split)
    return {
        name: {label: counts[name, label] for label in films.findings} for name in sorted({name for name, _ in counts})
    }
