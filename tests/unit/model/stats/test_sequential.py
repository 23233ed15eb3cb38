import numpy as np
import pytest
from scipy.integrate import quad

from model.stats.binomial import interval
from model.stats.sequential import ALPHA, Outcome, RateWatch, log_evidence, watch

CALIBRATED = (0.80, 0.97)
STREAMS, FILMS = 400, 600


def watched(outcomes: list[bool], calibrated: tuple[float, float] | None = CALIBRATED) -> RateWatch:
    return watch([Outcome(right) for right in outcomes], calibrated)


def streams(rate: float, seed: int) -> list[list[bool]]:
    return (np.random.default_rng(seed).random((STREAMS, FILMS)) < rate).tolist()


def alarms(rate: float, seed: int) -> list[int]:
    found = [watched(outcomes).alarm_at for outcomes in streams(rate, seed)]
    return [alarm for alarm in found if alarm]


@pytest.mark.parametrize("rate", [0.80, 0.88, 0.97])
def test_a_rate_inside_seldom_raises_an_alarm_however_often_one_looks(rate: float) -> None:
    assert len(alarms(rate, seed=1)) <= ALPHA * STREAMS


def test_an_interval_looked_at_after_every_film_would_cry_wolf() -> None:
    """Why not the plain interval: at the edge of the calibrated one it leaves it far more often."""
    counts = np.cumsum(streams(0.80, seed=1), axis=1)
    trials = np.arange(1, FILMS + 1)
    rates = counts / trials
    upper = rates + 1.96 * np.sqrt(rates * (1 - rates) / trials)
    left = ((upper < CALIBRATED[0]) & (trials > 20)).any(axis=1)
    assert left.mean() > 3 * ALPHA


@pytest.mark.parametrize(("rate", "within"), [(0.60, 100), (0.70, 350)])
def test_a_rate_that_fell_is_found(rate: float, within: int) -> None:
    found = alarms(rate, seed=2)
    assert len(found) > 0.95 * STREAMS
    assert np.median(found) < within


def test_evidence_is_the_mixture_over_the_best_rate_inside() -> None:
    successes, trials = 12, 20

    def weighted(p: float) -> float:
        return p**successes * (1 - p) ** (trials - successes) / (np.pi * np.sqrt(p * (1 - p)))

    mixture = quad(weighted, 0, 1)[0]
    best = 0.80**successes * 0.20 ** (trials - successes)  # 12/20 lies below: the interval's low end explains it best
    assert log_evidence(successes, trials, CALIBRATED) == pytest.approx(np.log(mixture / best), abs=1e-6)


def test_an_alarm_stays() -> None:
    outcomes = [False] * 20 + [True] * 2000
    found = watched(outcomes)
    assert found.alarm_at is not None
    assert found.alarm_at <= 20
    assert found.value == pytest.approx(2000 / 2020)


def test_nothing_to_compare_with_and_nothing_seen() -> None:
    assert watched([True, False], None).evidence is None
    empty = watch([], CALIBRATED)
    assert (empty.value, empty.interval95, empty.alarm_at) == (None, (0.0, 1.0), None)
    assert empty.as_dict()["alarm"] is False


def test_a_certain_rate_is_broken_by_one_film() -> None:
    assert watched([True, False], (1.0, 1.0)).alarm_at == 2


def test_films_that_are_left_out_cannot_raise_an_alarm() -> None:
    """Specificity .87 of calibrated .80 to .97. Readers read what was flagged and one of five others: by what they
    read alone, almost every site has an alarm; with the films that they left out in their places, none has."""
    random = np.random.default_rng(3)
    careless, careful = 0, 0
    for _ in range(STREAMS):
        right = random.random(FILMS) < 0.87
        read = ~right | (random.random(FILMS) < 0.2)
        careless += watch([Outcome(bool(one)) for one in right[read]], CALIBRATED).alarm
        outcomes = [Outcome(bool(one), known=bool(known)) for one, known in zip(right, read, strict=True)]
        careful += watch(outcomes, CALIBRATED).alarm
    assert careless > 0.95 * STREAMS
    assert careful <= ALPHA * STREAMS


def test_a_few_films_left_out_hide_no_fall() -> None:
    random = np.random.default_rng(4)
    found = 0
    for _ in range(100):
        right, read = random.random(FILMS) < 0.65, random.random(FILMS) < 0.95
        found += watch([Outcome(bool(a), known=bool(b)) for a, b in zip(right, read, strict=True)], CALIBRATED).alarm
    assert found > 95


@pytest.mark.parametrize(("successes", "trials"), [(10, 20), (15, 20), (40, 60), (60, 60), (199, 200)])
@pytest.mark.parametrize(("right", "wrong"), [(0, 0), (3, 0), (0, 3), (5, 5), (40, 40)])
def test_an_unread_film_counts_as_what_speaks_least_for_an_alarm(
    successes: int, trials: int, right: int, wrong: int
) -> None:
    """Beside every way in which they could turn out."""
    unread = [Outcome(True, known=False)] * right + [Outcome(False, known=False)] * wrong
    known = [Outcome(True)] * successes + [Outcome(False)] * (trials - successes)
    ways = [
        log_evidence(successes + more, trials + more + worse, CALIBRATED)
        for more in range(right + 1)
        for worse in range(wrong + 1)
    ]
    worst = watch([*unread, *known], CALIBRATED).evidence
    assert worst is not None
    # the largest over prefixes; the whole is the last of them, and no prefix of these has more than a plain look has
    plain = watch(known, CALIBRATED).evidence
    assert plain is not None
    assert worst <= plain
    if min(ways) > 1:
        assert np.log(worst) == pytest.approx(min(ways), abs=0.05)


def test_more_patients_that_are_ill_make_no_alarm() -> None:
    """A flag is right on .95 of the normal films and on .70 of the pneumonias, and stays so. It was calibrated on 300
    and 200 of them; at the site one in twenty is a pneumonia. One specificity of both together leaves its interval,
    each alone does not."""
    random = np.random.default_rng(9)
    mixed, by_label = 0, 0
    for _ in range(100):
        ill = random.random(FILMS) < 0.05
        right = np.where(ill, random.random(FILMS) < 0.70, random.random(FILMS) < 0.95)
        kinds = ((right[ill], interval(140, 200)), (right[~ill], interval(285, 300)))
        mixed += watched(right.tolist(), interval(425, 500)).alarm
        by_label += any(watched(part.tolist(), calibrated).alarm for part, calibrated in kinds)
    assert mixed > 80
    assert by_label <= ALPHA * 100
