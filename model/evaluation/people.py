"""Whose films they are: age and sex of the patients, views and sources, and how their labels came about."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from model.data.dataset import FilmRow, Films
from model.json_value import JsonValue

ALL = "all"
"""People of every class together."""
NOT_SAID = "not said"


@dataclass(frozen=True, kw_only=True)
class Ages(JsonValue):
    """Years, by patient."""

    known: int
    """Patients whose age is known."""
    median: float | None
    """None where no age is known."""
    quartiles: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class People(JsonValue):
    films: int
    patients: int
    age: Ages
    sex: dict[str, int]
    """Patients: F, M, or not said."""
    views: dict[str, int]
    """Films."""
    bases: dict[str, dict[str, int]]
    """Films: source -> how the label was set."""

    @property
    def sources(self) -> dict[str, int]:
        """Films."""
        return {source: sum(counts.values()) for source, counts in self.bases.items()}


def people_of(films: Films) -> dict[str, People]:
    """All of some films, and those of each class that occurs."""
    by_class = {name: [film for film in films.records if film.label == name] for name in films.findings}
    return {ALL: _people(films.records)} | {name: _people(own) for name, own in by_class.items() if own}


def _people(films: Sequence[FilmRow]) -> People:
    ages: dict[str, float] = {}
    sexes: dict[str, str] = {}
    for film in films:
        sexes[film.patient] = sexes.get(film.patient) or film.sex
        if film.age is not None:
            ages[film.patient] = min(film.age, ages.get(film.patient, film.age))
    sources = sorted({film.source for film in films})
    return People(
        films=len(films),
        patients=len(sexes),
        age=_ages(list(ages.values())),
        sex=_counts(sexes.values()),
        views=_counts(film.view for film in films),
        bases={
            source or NOT_SAID: _counts(film.label_basis for film in films if film.source == source)
            for source in sources
        },
    )


def _ages(years: list[float]) -> Ages:
    """Of patients with several films: the youngest age."""
    if not years:
        return Ages(known=0, median=None, quartiles=None)
    low, middle, high = (round(float(value), 1) for value in np.quantile(years, [0.25, 0.5, 0.75]))
    return Ages(known=len(years), median=middle, quartiles=(low, high))


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(name or NOT_SAID for name in names).items()))
