"""Are there more films than patients? Said beside exact intervals from a tenth more on."""

import pytest

from model.stats.repeated_films import independence_note


@pytest.mark.parametrize(("films", "patients", "said"), [(110, 100, False), (111, 100, True), (50, None, False)])
def test_it_is_said_from_a_tenth_more_on(films: int, patients: int | None, said: bool) -> None:
    assert bool(independence_note([(films, patients)])) is said


def test_the_worst_pair_is_named() -> None:
    assert "220 films of 22 patients" in independence_note([(120, 100), (220, 22), (30, 20)])
