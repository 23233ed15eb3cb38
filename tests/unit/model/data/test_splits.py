"""Films into splits: whole patients, every film once, each class in its share, whatever the order of the rows."""

from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.dataset import SPLITS, FilmRow
from model.data.splits import assign
from model.errors import DatasetError
from model.findings import FINDINGS

SHARES = (0.7, 0.15, 0.15)


def film(number: int, patient: str, label: str) -> FilmRow:
    statistics = dict.fromkeys(("aspect", "mean", "spread", "black", "white"), 0.0)
    texts = {"split": "", "view": "PA", "source": "", "label_basis": ""}
    return FilmRow(identifier=f"film-{number:04}", patient=patient, label=label, age=None, **texts, **statistics)


def some_films(patients: dict[str, list[str]]) -> list[FilmRow]:
    rows = [(patient, label) for patient, labels in patients.items() for label in labels]
    return [film(number, patient, label) for number, (patient, label) in enumerate(rows)]


LABELS = st.lists(st.sampled_from(FINDINGS), min_size=1, max_size=5)
PATIENTS = st.dictionaries(st.text(min_size=1, max_size=4), LABELS, min_size=1, max_size=60)
ALL_SHARES = (
    st.lists(st.integers(0, 10), min_size=1, max_size=3).filter(any).map(lambda w: tuple(x / sum(w) for x in w))
)


@given(PATIENTS, ALL_SHARES, st.integers(0, 5), st.randoms(use_true_random=False))
def test_patients_stay_together_and_order_does_not_matter(patients, shares, seed, random) -> None:
    films = some_films(patients)
    assigned = assign(films, shares=shares, seed=seed)
    assert [replace(one, split="") for one in assigned] == films
    splits = defaultdict(set)
    for one in assigned:
        splits[one.patient].add(one.split)
    assert all(len(found) == 1 for found in splits.values())
    allowed = {name for name, share in zip(SPLITS, shares, strict=False) if share}
    assert set().union(*splits.values()) <= allowed
    mixed = random.sample(films, len(films))
    assert sorted(assign(mixed, shares=shares, seed=seed), key=lambda one: one.identifier) == assigned


@given(
    st.lists(st.tuples(st.sampled_from(FINDINGS), st.integers(1, 4)), min_size=1, max_size=80),
    ALL_SHARES,
    st.integers(),
)
def test_every_class_is_shared_out_as_asked(patients, shares, seed) -> None:
    """To within the films of one patient, when nobody has two classes."""
    films = some_films({f"p{at}": [label] * count for at, (label, count) in enumerate(patients)})
    assigned = assign(films, shares=shares, seed=seed)
    for label in {label for label, _ in patients}:
        own = [one.split for one in assigned if one.label == label]
        largest = max(count for name, count in patients if name == label)
        for name, share in zip(SPLITS, shares, strict=False):
            assert abs(own.count(name) - share * len(own)) <= largest


def test_round_numbers_come_out_exactly() -> None:
    films = some_films(
        {f"{label}-{at}": [label] for label, n in zip(FINDINGS, (200, 100, 20), strict=True) for at in range(n)}
    )
    assigned = assign(films, shares=SHARES, seed=1)
    found = {
        label: [sum(one.label == label and one.split == name for one in assigned) for name in SPLITS]
        for label in FINDINGS
    }
    assert found == {"normal": [140, 30, 30], "pneumonia": [70, 15, 15], "covid19": [14, 3, 3]}


def test_the_seed_decides() -> None:
    films = some_films({f"p{at}": ["normal"] for at in range(50)})
    first, again, other = (assign(films, shares=SHARES, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_patient_of_two_classes_counts_for_the_rarer() -> None:
    """Ten patients with a common and a rare film each: dealt out with 90 others of the common class, the rare films
    would land anywhere."""
    patients = {f"both-{at}": ["normal", "covid19"] for at in range(10)} | {f"p{at}": ["normal"] for at in range(90)}
    for seed in range(5):
        assigned = assign(some_films(patients), shares=(0.6, 0.2, 0.2), seed=seed)
        rare = [one.split for one in assigned if one.label == "covid19"]
        assert [rare.count(name) for name in SPLITS] == [6, 2, 2]


@pytest.mark.parametrize("shares", [(), (0.5,), (0.5, 0.6), (1.5, -0.5), (0.25,) * 4, (float("nan"), 1.0)], ids=str)
def test_impossible_shares(shares: tuple[float, ...]) -> None:
    with pytest.raises(DatasetError, match="up to three numbers of at least 0 that sum to 1"):
        assign(some_films({"p": ["normal"]}), shares=shares, seed=1)


def test_no_films() -> None:
    assert assign([], shares=SHARES, seed=1) == []
