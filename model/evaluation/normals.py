"""How many normal films are flagged: what a hospital has to bear."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.data.dataset import MORE
from model.evaluation.groups import Group, groups, whole
from model.evaluation.questions import AUXILIARY, TEST, TEST_ALL
from model.evaluation.scored import ScoredFilms
from model.evaluation.shares import PatientProportion, over_patients
from model.evaluation.slices import EVERY_VIEW, OWN_VIEWS
from model.findings import negative_of
from model.json_value import JsonValue
from model.stats.binomial import proportion

UNSEEN = "unseen"
"""Part: normal films of sources that no training had."""


@dataclass(frozen=True, kw_only=True)
class NormalsFlagged(JsonValue):
    """Normal films that are alike in one thing. Films that thresholds were chosen on are not among them."""

    part: str
    """test, more, auxiliary or unseen."""
    group: str
    """all, source, view, sex or age."""
    name: str
    of: str
    """The bundle's views, or every view."""
    films: int
    patients: int
    any_flag: PatientProportion
    """With at least one flag; its interval over patients is None where none has two films, as of the next."""
    flags: dict[str, PatientProportion]
    """By flag, "not normal" included."""


def normals_flagged(parts: Mapping[str, ScoredFilms], bundle: Bundle) -> tuple[NormalsFlagged, ...]:
    """Empty where the bundle has no flags.

    Args:
        parts: test, test_all, and where there are such films more, auxiliary and unseen.
    """
    normals = {
        name: part.where(lambda film: film.label == negative_of(bundle.findings)) for name, part in parts.items()
    }
    names = [point.finding for point in bundle.operating_points]
    return tuple(_flagged(part, group, names) for part, group in _groups(normals)) if names else ()


def _groups(normals: Mapping[str, ScoredFilms]) -> Iterator[tuple[str, Group]]:
    test, test_all = normals[TEST], normals[TEST_ALL]
    found = chain(
        whole("test", OWN_VIEWS, test),
        whole("test", EVERY_VIEW, test_all),
        groups(["source"], OWN_VIEWS, test),
        groups(["view"], EVERY_VIEW, test_all),
        groups(["sex", "age"], OWN_VIEWS, test),
    )
    yield from ((TEST, group) for group in found)
    for name in (MORE, AUXILIARY, UNSEEN):
        if name in normals:
            part = normals[name]
            found = chain(whole(name, EVERY_VIEW, part), groups(["source", "view", "sex", "age"], EVERY_VIEW, part))
            yield from ((name, group) for group in found)


def _flagged(part: str, group: Group, names: list[str]) -> NormalsFlagged:
    patients, flags = group.part.films.patients, group.part.flags
    repeated, every = len(set(patients)) < len(patients), np.ones(len(patients), bool)

    def share(hit: NDArray[np.bool_]) -> PatientProportion:
        exact = proportion(int(hit.sum()), len(hit))
        return (
            over_patients(exact, hit, every, patients)
            if repeated
            else PatientProportion(**vars(exact), bootstrap95=None)
        )

    return NormalsFlagged(
        part=part,
        group=group.kind,
        name=group.name,
        of=group.of,
        films=len(patients),
        patients=len(set(patients)),
        any_flag=share(np.array([bool(up) for up in flags], bool)),
        flags={name: share(np.array([name in up for up in flags], bool)) for name in names},
    )
