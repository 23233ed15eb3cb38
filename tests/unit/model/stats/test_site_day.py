"""A site's day: its expected figures by hand, its intervals by simulation, its edges."""

from dataclasses import replace

import numpy as np
import pytest

from model.findings import NOT_NORMAL
from model.stats.operating_points import flag_rates, predictive_values
from model.stats.site_day import FlagAt, LabelledScores, independent_films, site_days

FINDINGS = ("normal", "pneumonia", "covid19")


def scores(
    labels: list[int], covid: list[float], patients: list[str] | None = None, unsure: list[bool] | None = None
) -> LabelledScores:
    chance = np.array(covid)
    return LabelledScores(
        findings=FINDINGS,
        chances=np.stack([(1 - chance) * 0.75, (1 - chance) * 0.25, chance], axis=1),
        labels=np.array(labels),
        patients=tuple(patients or map(str, range(len(labels)))),
        unsure=None if unsure is None else np.array(unsure),
    )


HALF = scores(
    [0] * 60 + [1] * 20 + [2] * 20, [0.9] * 12 + [0.1] * 68 + [0.9] * 15 + [0.1] * 5, unsure=[True] * 25 + [False] * 75
)


def test_what_is_expected_of_a_day_by_hand() -> None:
    found = site_days(HALF, [FlagAt(flag="covid19", threshold=0.5)], prevalences=(0.1,), films_per_day=200)
    (day,), (measured,) = found.days, found.measured
    assert (measured.sensitivity.value, measured.specificity.value, measured.normals_flagged.value) == (0.75, 0.85, 0.2)
    assert day.flags.value == 200 * 0.1 * 0.75 + 200 * 0.9 * 0.15
    assert day.missed.value == 5
    assert day.normals_flagged.value == 0.2
    assert day.unsure is not None
    assert day.unsure.value == round(200 * 0.9 * 25 / 80, 1)
    values = predictive_values(flag_rates(HALF.chances[:, 2] >= 0.5, HALF.labels == 2), 0.1)
    assert (day.ppv.value, day.npv.value) == (values.ppv.value, values.npv.value)
    assert found.films == {"normal": 60, "pneumonia": 20, "covid19": 20}
    assert found == site_days(HALF, [FlagAt(flag="covid19", threshold=0.5)], prevalences=(0.1,), films_per_day=200)


def test_not_normal_is_had_by_every_film_of_another_finding() -> None:
    point = FlagAt(flag=NOT_NORMAL, threshold=0.5)
    (measured,) = site_days(HALF, [point], prevalences=(), films_per_day=1).measured
    assert (measured.sensitivity.n, measured.specificity.n) == (40, 60)
    assert measured.sensitivity.value == 15 / 40
    assert measured.normals_flagged.value == pytest.approx(1 - (measured.specificity.value or 0))


def test_a_day_of_no_films_with_it_and_one_of_no_others() -> None:
    none, only = site_days(HALF, [FlagAt(flag="covid19", threshold=0.5)], prevalences=(0, 1), films_per_day=50).days
    assert (none.missed.value, none.missed.interval95, none.ppv.value, none.npv.value) == (0, (0, 0), 0, 1)
    assert (only.ppv.value, only.npv.value, only.normals_flagged.value) == (1, 0, None)


def test_a_flag_that_is_never_up_has_no_ppv_but_may_be_up_on_a_day() -> None:
    (day,) = site_days(HALF, [FlagAt(flag="covid19", threshold=0.95)], prevalences=(0.1,), films_per_day=200).days
    assert (day.flags.value, day.ppv.value, day.missed.value) == (0, None, 20)
    assert day.flags.interval95 is not None
    assert day.flags.interval95[1] > 0, "0 of 20 films flagged is no proof that none ever is"


@pytest.mark.parametrize(
    ("change", "asked", "words"),
    [
        ({}, {"films_per_day": 0}, "at least one film"),
        ({}, {"prevalences": (1.5,)}, "between 0 and 1, not 1.5"),
        ({"labels": np.zeros(100, np.int64)}, {}, "no labelled film with covid19"),
        ({"labels": np.full(100, 2)}, {}, "no labelled film without covid19"),
        ({"chances": np.full((100, 3), np.nan)}, {}, "not finite"),
        ({}, {"points": [FlagAt(flag="effusion", threshold=0.5)]}, "not_normal, normal, pneumonia, covid19 are"),
    ],
)
def test_what_cannot_be_answered_is_said(change: dict[str, object], asked: dict[str, object], words: str) -> None:
    usual = {"points": [FlagAt(flag="covid19", threshold=0.5)], "prevalences": (0.1,), "films_per_day": 10}
    with pytest.raises(ValueError, match=words):
        site_days(replace(HALF, **change), **(usual | asked))  # type: ignore[arg-type]


def test_films_of_one_patient_that_are_all_alike_count_once() -> None:
    hit = np.repeat(np.arange(40) % 4 == 0, 3)
    patients = np.repeat(np.arange(40), 3).astype(str)
    assert independent_films(hit, patients) == pytest.approx(40, rel=0.03)
    assert independent_films(hit, np.arange(120).astype(str)) == pytest.approx(120, rel=0.01)
    assert independent_films(np.zeros(120, bool), patients) == 40, "nothing says that they are not alike"


def draw(random: np.random.Generator, patients: int, most: int, rate: float) -> tuple[list[bool], list[str]]:
    """Flags of `patients` patients with 1..most films each, half of a patient's films all alike."""
    flags: list[bool] = []
    names: list[str] = []
    for number in range(patients):
        alike, own = random.random() < 0.5, random.random() < rate
        for _ in range(int(random.integers(1, most + 1))):
            flags.append(bool(own if alike else random.random() < rate))
            names.append(f"{rate}-{number}")
    return flags, names


@pytest.mark.parametrize(
    ("most", "prevalence"),
    [pytest.param(1, 0.05, marks=pytest.mark.slow), pytest.param(1, 0.2, marks=pytest.mark.slow), (4, 0.2)],
)
def test_the_intervals_hold_a_day_as_often_as_they_say(most: int, prevalence: float) -> None:
    """A site with sensitivity .8 and specificity .9: labelled films are drawn, then a day of 200 films to foretell.

    Beside it, what intervals do that know of the rates' uncertainty alone, or of the day's chance alone.
    """
    random, draws = np.random.default_rng(14), 400
    held = dict.fromkeys(("flags", "ppv", "npv", "missed", "flags by rates alone", "flags by chance alone"), 0)
    for _ in range(draws):
        with_it, one = draw(random, 40, most, 0.8)
        without, other = draw(random, 90, most, 0.1)
        stated = np.where([*with_it, *without], 0.9, 0.1).tolist()
        films = scores([2] * len(with_it) + [0] * len(without), stated, [*one, *other])
        point = FlagAt(flag="covid19", threshold=0.5)
        (day,) = site_days(films, [point], prevalences=(prevalence,), films_per_day=200, draws=2000).days
        having = int(random.binomial(200, prevalence))
        hits, false_flags = int(random.binomial(having, 0.8)), int(random.binomial(200 - having, 0.1))
        flags = hits + false_flags
        true = {
            "flags": flags,
            "ppv": hits / flags if flags else None,
            "npv": (200 - having - false_flags) / (200 - flags),
            "missed": having - hits,
        }
        for name, value in true.items():
            low, high = getattr(day, name).interval95
            held[name] += value is None or round(low, 4) <= round(value, 4) <= round(high, 4)
        of_with, of_without = (
            random.beta(sum(hit) + 0.5, len(hit) - sum(hit) + 0.5, 2000) for hit in (with_it, without)
        )
        low, high = np.quantile(200 * (prevalence * of_with + (1 - prevalence) * of_without), (0.025, 0.975))
        held["flags by rates alone"] += int(low <= flags <= high)
        expected = prevalence * np.mean(with_it) + (1 - prevalence) * np.mean(without)
        low, high = np.quantile(random.binomial(200, expected, 2000), (0.025, 0.975), method="inverted_cdf")
        held["flags by chance alone"] += int(low <= flags <= high)
    shares = {name: count / draws for name, count in held.items()}
    print(shares)
    assert all(shares[name] >= 0.92 for name in true), shares
    assert shares["flags"] <= 0.985, "not much wider than it need be"
    assert max(shares["flags by rates alone"], shares["flags by chance alone"]) < 0.9
