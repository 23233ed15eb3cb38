"""Films in groups that are alike in one thing: source, view, sex, age, or how their label was set."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from model.data.dataset import FilmRow
from model.evaluation.scored import ScoredFilms
from model.findings import REPORT_MINED

NOT_SAID = "not said"
SEXES = {"F": "women", "M": "men"}
AGES = (("under 18", 0.0, 18.0), ("18-39", 18.0, 40.0), ("40-59", 40.0, 60.0), ("60 and over", 60.0, float("inf")))
"""Name, years from, and to, which is not in it."""


@dataclass(frozen=True, kw_only=True)
class Group:
    kind: str
    """A key of KINDS, or all."""
    name: str
    of: str
    """Films it was taken from, in words."""
    part: ScoredFilms


def age_group(age: float | None) -> str:
    return next((name for name, low, high in AGES if age is not None and low <= age < high), NOT_SAID)


KINDS: dict[str, tuple[Callable[[FilmRow], str], tuple[str, ...]]] = {
    "source": (lambda film: film.source or NOT_SAID, ()),
    "view": (lambda film: film.view, ()),
    "label": (
        lambda film: "report-mined" if film.label_basis in REPORT_MINED else "confirmed",
        ("confirmed", "report-mined"),
    ),
    "sex": (lambda film: SEXES.get(film.sex, NOT_SAID), (*SEXES.values(), NOT_SAID)),
    "age": (lambda film: age_group(film.age), (*(name for name, _, _ in AGES), NOT_SAID)),
}
"""Kind -> the group of a film, and the groups in their order; by name where there are none."""


def whole(name: str, of: str, part: ScoredFilms) -> Iterator[Group]:
    if len(part.films):
        yield Group(kind="all", name=name, of=of, part=part)


def groups(kinds: Sequence[str], of: str, part: ScoredFilms) -> Iterator[Group]:
    """Those that have films, kind by kind. A kind of which no film says anything is left out."""
    for kind in kinds:
        name_of, order = KINDS[kind]
        found = {name_of(film) for film in part.films.records}
        if found == {NOT_SAID}:
            continue
        for name in [one for one in order if one in found] or sorted(found):
            chosen = part.where(lambda film, name_of=name_of, name=name: name_of(film) == name)  # type: ignore[misc]
            yield Group(kind=kind, name=name, of=of, part=chosen)
