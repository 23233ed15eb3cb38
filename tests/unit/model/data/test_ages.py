"""Ages as tables write them, and who is an adult."""

import pytest

from model.data.ages import is_adult, years_of


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("58", 58.0),
        (" 58.5 ", 58.5),
        ("058Y", 58.0),
        ("58y", 58.0),
        ("018M", 1.5),
        ("730D", 730 / 365.25),
        ("004W", 28 / 365.25),
        ("0", 0.0),
    ],
)
def test_numbers_of_years_and_age_strings(text: str, years: float) -> None:
    assert years_of(text) == pytest.approx(years)


@pytest.mark.parametrize("text", ["", " ", "unknown", "nan", "inf", "-3", "40-50", "58YY", "Y"])
def test_what_is_no_age_is_not_known(text: str) -> None:
    assert years_of(text) is None


def test_an_age_that_is_not_known_passes() -> None:
    assert [is_adult(years) for years in (None, 17.99, 18.0)] == [True, False, True]
    assert not is_adult(18.0, 21.0)
