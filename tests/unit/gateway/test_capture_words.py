"""The banner says what was found in plain words, and no number that contradicts its flag."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from dicom_gateway.capture_words import NOTICE, Tone, made_by, outcome
from dicom_gateway.result import FilmResult, FindingResult
from tests.unit.gateway.captures import AT, NOT_NORMAL, NOT_PA, PNEUMONIA, result_of, unflagged


def words(result: FilmResult) -> list[str]:
    return [line.text for line in outcome(result)]


def test_flags_and_what_is_not_flagged() -> None:
    assert words(result_of()) == [
        NOTICE,
        "flag: NOT NORMAL 0.83 (operating point 0.61, specificity at least 0.90)",
        "flag: PNEUMONIA 0.75 (operating point 0.45)",
        "not flagged: COVID-19 0.08 (operating point 0.30)",
    ]


def test_no_flag() -> None:
    assert words(unflagged())[1:] == [
        "no flag - that does not exclude a finding",
        "not flagged: pneumonia 0.02 (operating point 0.45); COVID-19 0.08 (operating point 0.30)",
    ]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (("normal", "pneumonia"), "UNSURE: may be normal or pneumonia"),
        (("normal", "pneumonia", "covid19"), "UNSURE: may be normal or pneumonia or COVID-19"),
        ((), "UNSURE: may be none of the findings that it knows"),
        (("pneumonia",), None),
        (None, None),
    ],
)
def test_unsure(members: tuple[str, ...] | None, said: str | None) -> None:
    found = [line for line in outcome(result_of(prediction_set=members)) if line.text.startswith("UNSURE")]
    assert [line.text for line in found] == ([said] if said else [])
    assert {line.tone for line in found} <= {Tone.WARNING}


def test_a_note_says_why_it_should_not_have_been_analysed() -> None:
    assert words(result_of(notes=(NOT_PA,)))[-1] == "analysed although: not a PA view"


def test_not_analysed() -> None:
    nothing = result_of(findings=(), prediction_set=None, not_analysed=NOT_PA)
    assert words(nothing) == [NOTICE, "NOT ANALYSED: not a PA view"]


@pytest.mark.parametrize(
    ("probability", "point", "said"),
    [
        (0.83, 0.61, "0.83 (operating point 0.61)"),
        (0.6149, 0.6142, "0.615 (operating point 0.614)"),
        (0.61, 0.61, "0.61 (operating point 0.61)"),
        (0.997, 0.9, "0.997 (operating point 0.90)"),
        (0.99999, 0.5, "0.99999 (operating point 0.50)"),
        (0.0004, 0.5, "0.0004 (operating point 0.50)"),
        (1.0, 0.5, "1.00 (operating point 0.50)"),
    ],
)
def test_numbers_do_not_hide_a_difference(probability: float, point: float, said: str) -> None:
    found = FindingResult(name="x", probability=probability, operating_point=point, flag=True)
    assert words(result_of(findings=(found,)))[1] == f"flag: X {said}"


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        (UTC, "2026-11-28 13:14:15 UTC+00:00"),
        (timezone(timedelta(hours=-4)), "2026-11-28 09:14:15 UTC-04:00"),
        (timezone(timedelta(hours=5, minutes=45)), "2026-11-28 18:59:15 UTC+05:45"),
    ],
)
def test_made_by(zone: timezone, said: str) -> None:
    when: datetime = AT.astimezone(zone)
    line = made_by(result_of(), when)
    assert line.text == f"bundle reference 0.4.0 (ab12ab12ab12), ort-int8, software 0.1.0, {said}"


def test_nothing_of_a_patient_is_said() -> None:
    result = result_of(findings=(replace(NOT_NORMAL, chosen_for=""), PNEUMONIA), notes=(NOT_PA,))
    said = " ".join([*words(result), made_by(result, AT).text])
    assert "Secret" not in said
    assert "SECRET" not in said
