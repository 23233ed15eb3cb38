"""Films into train, val and test by patient, each class in its share."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace

from model.data.dataset import SPLITS, FilmRow
from model.errors import DatasetError


def assign(films: Iterable[FilmRow], *, shares: tuple[float, ...], seed: int) -> list[FilmRow]:
    """The films with a split each. All films of a patient go together; each class is shared out on its own.

    Args:
        shares: of `train`, `val` and, if there is a third, `test`; they sum to 1.
        seed: the same seed gives the same splits, whatever the films' order.

    Raises:
        DatasetError: shares that are negative or do not sum to 1.
    """
    check_shares(shares)
    films = list(films)
    by_patient: dict[str, list[FilmRow]] = defaultdict(list)
    for film in films:
        by_patient[film.patient].append(film)
    rarity = Counter(film.label for film in films)
    by_class: dict[str, list[str]] = defaultdict(list)
    for patient, own in sorted(by_patient.items()):
        by_class[min((film.label for film in own), key=lambda label: (rarity[label], label))].append(patient)
    split_of: dict[str, str] = {}
    for label, patients in sorted(by_class.items()):
        random.Random(f"{seed} {label}").shuffle(patients)
        wanted = sum(len(by_patient[patient]) for patient in patients)
        given, reached = 0, [sum(shares[: index + 1]) for index in range(len(shares))]
        for patient in patients:
            middle = (given + len(by_patient[patient]) / 2) / wanted
            split_of[patient] = SPLITS[next(i for i, end in enumerate(reached) if middle <= end + 1e-9)]
            given += len(by_patient[patient])
    return [replace(film, split=split_of[film.patient]) for film in films]


def check_shares(shares: tuple[float, ...]) -> None:
    """Raises DatasetError if no split can be made in these shares."""
    if not 1 <= len(shares) <= len(SPLITS) or not (min(shares) >= 0 and abs(sum(shares) - 1) < 1e-6):
        raise DatasetError(f"shares {shares} must be up to three numbers of at least 0 that sum to 1")
