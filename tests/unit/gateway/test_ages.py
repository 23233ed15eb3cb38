"""Age at the film."""

from datetime import date

import pytest

from dicom_gateway.ages import age_at_film, read_date, stated_age

TODAY = date(2026, 6, 1)


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("045Y", 45.0), ("45", 45.0), ("045", 45.0), ("45 Y", 45.0), ("045y ", 45.0), ("45YRS", 45.0), ("45J", 45.0),
        ("45 years", 45.0), ("45 YO", 45.0), ("45 ANS", 45.0), ("Y045", 45.0), ("Y 45", 45.0), (">89Y", 89.0),
        ("90+", 90.0), ("007YR", 7.0), ("7Y", 7.0), ("Y007", 7.0), ("7", 7.0), ("12MO", 1.0), ("18M", 1.5),
        ("0.5Y", 0.5), ("0,5 Y", 0.5), ("M006", 0.5), ("1Y6M", 1.5), ("1 Y 6 M", 1.5), ("012W", 0.23),
        ("3 WKS", 0.06), ("010D", 0.03), ("5 days", 0.01), ("000Y", 0.0), ("<1Y", 1.0), ("007X", 7.0),
        ("AGE 7", 7.0), ("999Y", 999.0),
        ("", None), ("ADULT", None), ("Y", None), ("-5Y", None), ("- 5", None), ("?", None), ("UNKNOWN", None),
    ],
)  # fmt: skip
def test_stated_ages(text: str, years: float | None) -> None:
    assert stated_age(text) == years


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("20150703", date(2015, 7, 3), None),
        ("2015.07.03", date(2015, 7, 3), None),
        ("2015-07-03", date(2015, 7, 3), None),
        ("2015/7/3", date(2015, 7, 3), None),
        ("20150703101112.123+0100", date(2015, 7, 3), None),
        ("2015-07-03T10:11:12", date(2015, 7, 3), None),
        ("20150703 10:11", date(2015, 7, 3), None),
        ("20150703-20150704", date(2015, 7, 3), None),
        ("25.07.2015", date(2015, 7, 25), None),
        ("07/25/2015", date(2015, 7, 25), None),
        ("25072015", date(2015, 7, 25), None),
        ("20012015", date(2015, 1, 20), None),
        ("03.07.2015", date(2015, 3, 7), date(2015, 7, 3)),  # which of the two is the month?
        ("2015", date(2015, 1, 1), date(2015, 12, 31)),
        ("201502", date(2015, 2, 1), date(2015, 2, 28)),
        ("20150200", date(2015, 2, 1), date(2015, 2, 28)),
        ("20150000", date(2015, 1, 1), date(2015, 12, 31)),
    ],
)
def test_dates_of_every_form(text: str, first: date, last: date | None) -> None:
    assert read_date(text, last=False) == first
    assert read_date(text, last=True) == last or first


@pytest.mark.parametrize(
    "text",
    ["", "0000.00.00", "00000000", "19501332", "20150230", "150703", "03.07.15", "99999999", "date", "201513", "1015"],
)
def test_what_is_no_date(text: str) -> None:
    assert read_date(text, last=True) is read_date(text, last=False) is None


@pytest.mark.parametrize(
    ("ages", "births", "films", "years"),
    [
        # nothing, or nothing possible
        ([], [], [], None),
        (["999Y"], [], [], None),
        ([], ["18000101"], ["20260101"], None),
        ([], ["20270101"], ["20260101"], None),
        ([], [], ["20260101"], None),
        # a date of birth and any date of the film, else the day of receipt
        ([], ["19500615"], ["20260615"], 75.96),  # received on 1 June
        ([], ["1950.06.15"], ["1995.07.20"], 45.1),
        ([], ["1950"], ["20260101"], 75.0),
        ([], ["20150101"], [], 11.41),
        ([], ["20150101"], ["", "20260110"], 11.02),
        ([], ["20150101"], ["20990101"], 11.41),
        ([], ["20150101"], ["20040826"], 11.41),  # a film before the birth: one of the dates is wrong
        ([], ["20260102"], ["20260101"], 0.0),  # a day across the date line
        ([], ["20260603"], [], 0.0),
        # birthdays: the day before counts as younger, the day itself not
        ([], ["20080601"], ["20260601"], 18.0),
        ([], ["20080602"], ["20260601"], 17.99),
        ([], ["20070301"], ["20250301"], 18.0),
        ([], ["20080229"], ["20260228"], 17.99),
        ([], ["20080229"], ["20260301"], 18.0),
        # the younger of two that contradict each other
        (["045Y"], ["20150101"], ["20260110"], 11.02),
        (["007Y"], ["19500101"], ["20260110"], 7.0),
        (["045Y", "007Y"], [], [], 7.0),
        (["999Y"], ["20150101"], ["20260110"], 11.02),
        (["-03Y"], ["19500101"], ["20260110"], 76.02),
        ([], ["19650101"], ["20260110", "19950110"], 30.02),
        ([], ["20080000"], ["20260601"], 17.42),
        # 0 years beside a birth date is an age that nobody filled in; of days, weeks and months it is a newborn's
        (["000Y"], ["19500101"], ["20260110"], 76.02),
        (["0"], ["19500101"], ["20260110"], 76.02),
        (["Y000"], ["19500101"], [], 76.41),
        (["000Y"], ["20260101"], ["20260110"], 0.02),
        (["000Y"], [], [], 0.0),
        (["000Y"], ["unknown"], ["20260110"], 0.0),
        (["000Y"], ["18000101"], ["20260110"], 0.0),
        (["000D"], ["19500101"], ["20260110"], 0.0),
        (["000W"], ["19500101"], ["20260110"], 0.0),
        (["000M"], ["19500101"], ["20260110"], 0.0),
        (["0Y0M"], ["19500101"], ["20260110"], 0.0),
        (["001Y"], ["19500101"], ["20260110"], 1.0),
        # a clock that was never set makes no child
        ([], ["19650101"], ["20260110", "19700101"], 61.02),
        ([], ["19650101"], ["19800101"], 61.41),
    ],
)
def test_age_at_the_film(ages: list[str], births: list[str], films: list[str], years: float | None) -> None:
    assert age_at_film(ages, births, films, TODAY) == years


@pytest.mark.parametrize(
    ("born", "films", "years"),
    [
        # the Study Date is the first: a clock that was reset tells 1 January, years before it
        ("19860615", ["20260310", "20000101"], 39.73),
        ("19860615", ["20260310", "19990101"], 39.73),
        ("19860615", ["20260310", "20010101"], 39.73),
        ("19860615", ["20260310", "20020101120000"], 39.73),
        ("19860615", ["20260310", "", "20000101", "20000101", "20260310", "19990101"], 39.73),
        ("19860615", ["20260101", "20000101"], 39.55),  # a film of New Year's Day
        ("19860615", ["20260310", "01.01.2000"], 39.73),
        ("20150615", ["20260310", "20000101"], 10.73),  # a child stays one
        ("20150615", ["20260310", "20160101"], 10.73),
        # not left out: the younger age counts
        ("19860615", ["20000101"], 13.55),  # the film has no other date
        ("19860615", ["", "20000101"], 13.55),
        ("19860615", ["20000101", "20260310"], 13.55),  # the study is old, its film was copied
        ("19860615", ["", "20000101", "20260310"], 13.55),  # which of them is the film's?
        ("19860615", ["20260310", "20000102"], 13.55),  # no 1 January
        ("19860615", ["20260310", "19990704"], 13.05),
        ("19860615", ["20260310", "20000101", "20000102"], 13.55),
        ("19860615", ["20260310", "20000101", "20030704"], 13.55),
        ("19860615", ["20160310", "20000101", "20260310"], 13.55),  # the others do not agree
        ("19860615", ["20260310", "2000"], 13.55),  # a year alone is no day
        ("19860615", ["20260310", "200001"], 13.55),
        ("20080101", ["20260310", "20250101"], 17.0),  # one year apart, and so no other clock
    ],
)
def test_a_clock_that_was_reset(born: str, films: list[str], years: float) -> None:
    assert age_at_film([], [born], films, TODAY) == years


def test_a_stated_age_of_a_child_counts_beside_a_clock_that_was_reset() -> None:
    assert age_at_film(["012Y"], ["19860615"], ["20260310", "20000101"], TODAY) == 12.0
