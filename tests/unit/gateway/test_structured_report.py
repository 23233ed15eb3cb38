"""The structured report of a result: checked by dciodvfy, DCMTK and highdicom, and walked as OHIF walks it."""

import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from highdicom.sr import srread
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_gateway.report_codes import FINDINGS as CODES
from dicom_gateway.report_codes import finding
from dicom_gateway.result import FilmResult, FindingResult, NotAnalysed
from dicom_gateway.structured_report import structured_report
from tests.services import tool
from tests.unit.gateway import as_ohif
from tests.unit.gateway.reported import (
    BEFORE,
    NOT_PA,
    encoded,
    film_without_pixels,
    not_analysed,
    read_back,
    result_of,
)
from worker.demo import sample_path

BARE = Dataset()
BARE.SOPClassUID, BARE.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3"
NOTE = NotAnalysed(code="view_pixels", meaning="the pixels look like another view than the header says " + "x" * 60)
RESULTS = {
    "flagged": result_of(),
    "unsure": result_of(prediction_set=("normal", "pneumonia"), notes=(NOTE,), replaces=(BEFORE,)),
    "empty set": result_of(prediction_set=()),
    "no sets, no flags": result_of(prediction_set=None, findings=(FindingResult(name="a finding", probability=1.0),)),
    "not analysed": not_analysed(),
    "not analysed, no size": not_analysed(BARE),
    "bare": result_of(film_without_pixels(**dict.fromkeys(["PatientName", "PatientID", "PatientAge", "StudyDate"]))),
}


def tree(dataset: Dataset) -> list[Dataset]:
    """Every content item below."""
    return [one for item in dataset.get("ContentSequence", ()) for one in (item, *tree(item))]


def texts_of(report: Dataset) -> str:
    return "\n".join(item.TextValue for item in tree(report) if item.ValueType == "TEXT")


def coded(report: Dataset, name: str) -> list[tuple[str, str]]:
    """Values of the CODE items of a name."""
    return [
        (value.get("CodeValue") or value.LongCodeValue, value.CodingSchemeDesignator)
        for item in tree(report)
        if item.ValueType == "CODE" and item.ConceptNameCodeSequence[0].CodeMeaning == name
        for value in item.ConceptCodeSequence
    ]


def verified(report: Dataset, folder: Path) -> list[str]:
    """The errors that dciodvfy finds."""
    path = folder / "report.dcm"
    path.write_bytes(encoded(report))
    command = [str(Path(sys.executable).parent / "dciodvfy"), "-new", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "Comprehensive3DSR" in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("name", RESULTS)
def test_dciodvfy_finds_no_error(name: str, tmp_path: Path) -> None:
    assert verified(structured_report(RESULTS[name]), tmp_path) == []


@pytest.mark.parametrize("name", ["RG1_UNCI.dcm", "RG1_J2KR.dcm"])
def test_dciodvfy_finds_no_error_in_a_real_films(name: str, tmp_path: Path) -> None:
    film = dcmread(sample_path(name), stop_before_pixels=True)
    report = structured_report(result_of(film))
    assert verified(report, tmp_path) == []
    assert (report.PatientName, report.StudyInstanceUID) == (film.PatientName, film.StudyInstanceUID)


def test_dciodvfy_does_find_errors(tmp_path: Path) -> None:
    report = structured_report(result_of())
    del report.CompletionFlag
    assert any("CompletionFlag" in line for line in verified(report, tmp_path))


@pytest.mark.parametrize("name", RESULTS)
def test_ohif_draws_each_finding_on_the_film(name: str) -> None:
    result = RESULTS[name]
    report = read_back(structured_report(result))
    shown = as_ohif.drawn(report)
    assert as_ohif.library(report) == [result.film.SOPInstanceUID]
    assert len({one.tracking_uid for one in shown}) == len(shown) == 1 + len(result.findings)
    assert [len(one.labels) for one in shown] == [0] + [1] * len(result.findings)
    assert all(one.tracking_identifier.endswith(", by xrayq") for one in shown)
    if "Rows" in result.film:
        assert {one.image for one in shown} == {result.film.SOPInstanceUID}


def test_ohif_shows_each_probability_with_its_finding() -> None:
    whole, *findings = as_ohif.drawn(read_back(structured_report(result_of())))
    assert [one.labels for one in findings] == [
        ("Probability of normal: 12.27 %",),
        ("Probability of pneumonia: 87.32 %",),
        ("Probability of COVID-19: 0.41 %",),
    ]
    assert whole.points == (0, 0, 448, 0, 448, 512, 0, 512, 0, 0)  # the border of 512 rows and 448 columns


def test_ohif_takes_no_number_without_a_region() -> None:
    """Why every group has one: the walk stops, as OHIF does."""
    report = read_back(structured_report(result_of()))
    for group in report.ContentSequence[-1].ContentSequence:
        group.ContentSequence = [item for item in group.ContentSequence if item.ValueType != "SCOORD"]
    with pytest.raises(AssertionError, match="without coordinates"):
        as_ohif.drawn(report)


def test_the_same_result_is_the_same_bytes() -> None:
    one, again = (structured_report(result_of()) for _ in range(2))
    assert encoded(one) == encoded(again)
    times = [one[keyword].value for keyword in ("ContentDate", "ContentTime", "InstanceCreationDate", "SeriesTime")]
    assert list(map(str, times)) == ["20261128", "131415", "20261128", "131415"]


@pytest.mark.parametrize(
    "other",
    [
        result_of(film_digest="ef" * 32),
        result_of(algorithm=replace(result_of().algorithm, bundle_digest="12" * 32)),
        not_analysed(),
    ],
)
def test_another_result_is_another_object(other: FilmResult) -> None:
    """In another series, of the same study; about the same questions."""
    one, another = structured_report(result_of()), structured_report(other)
    assert one.SOPInstanceUID != another.SOPInstanceUID
    assert one.SeriesInstanceUID != another.SeriesInstanceUID
    assert one.StudyInstanceUID == another.StudyInstanceUID
    assert as_ohif.drawn(one)[0].tracking_uid == as_ohif.drawn(another)[0].tracking_uid


def test_the_device_is_the_bundles() -> None:
    one, again = structured_report(result_of()), structured_report(not_analysed(film_without_pixels("another")))
    other = structured_report(result_of(algorithm=replace(result_of().algorithm, bundle_digest="12" * 32)))
    assert one.DeviceUID == again.DeviceUID != other.DeviceUID
    assert one.DeviceUID in [item.UID for item in tree(one) if item.ValueType == "UIDREF"]


def test_it_says_what_it_is() -> None:
    report = structured_report(result_of())
    flags = (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag, report.ContentQualification)
    assert flags == ("COMPLETE", "UNVERIFIED", "PRELIMINARY", "RESEARCH")
    assert "Research. Not a medical device." in texts_of(report)
    assert coded(report, "Observer Type") == [("121007", "DCM")]
    (evidence,) = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert evidence.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == result_of().film.SOPInstanceUID


def test_highdicom_reads_what_was_said() -> None:
    report = srread(BytesIO(encoded(structured_report(result_of()))))
    groups = report.content.get_planar_roi_measurement_groups()
    assert [group.finding_type and group.finding_type.meaning for group in groups] == [None, None, "Pneumonia", None]
    (probability,) = groups[2].get_measurements()
    assert (probability.value, probability.unit.value) == (87.3215, "%")
    about = {item.name.meaning: item.value for item in probability[0].ContentSequence}
    assert about.pop("Finding") == CODES["pneumonia"]
    assert about == {
        "+, range of upper measurement uncertainty": 5.0785,
        "-, range of lower measurement uncertainty": 7.2215,
        "Operating point": 50,
        "Operating point chosen for": "specificity at least 0.90",
    }
    algorithm = {item.name.meaning: item.value for item in groups[2][0].ContentSequence if item.ValueType == "TEXT"}
    assert (algorithm["Algorithm Name"], algorithm["Algorithm Version"]) == ("xrayq", "2026.11")


def test_only_a_flag_that_is_up_makes_a_finding() -> None:
    """Beside the modifiers of probabilities: a program that lists the groups' findings lists no COVID-19 of 0.4 %."""
    report = structured_report(result_of())
    groups = report.ContentSequence[-1].ContentSequence
    said = [item for group in groups for item in group.ContentSequence if item.ValueType == "CODE"]
    codes = [(item.ConceptNameCodeSequence[0].CodeMeaning, item.ConceptCodeSequence[0].CodeMeaning) for item in said]
    assert [value for name, value in codes if name == "Finding"] == ["Pneumonia"]
    assert [value for name, value in codes if name == "Flag"] == ["Flag raised", "Flag not raised"]


@pytest.mark.parametrize(
    ("members", "certainty", "codes", "words"),
    [
        (("pneumonia",), "ONE_FINDING", ["233604007"], "The prediction set holds pneumonia alone."),
        (
            ("normal", "covid19"),
            "UNSURE",
            ["17621005", "840539006"],
            "Unsure: the prediction set holds normal and COVID",
        ),
        ((), "UNSURE", ["EMPTY_SET"], "Unsure: the prediction set holds none of the findings."),
    ],
)
def test_unsure_is_said(members: tuple[str, ...], certainty: str, codes: list[str], words: str) -> None:
    report = structured_report(result_of(prediction_set=members))
    assert coded(report, "Certainty") == [(certainty, "99XRAYQ")]
    assert [code for code, _ in coded(report, "Prediction set")] == codes
    assert words in texts_of(report)


def test_a_film_that_was_not_analysed_has_a_reason_and_no_number() -> None:
    report = structured_report(not_analysed())
    assert coded(report, "Not analysed, because") == [(NOT_PA.code, "99XRAYQ")]
    assert "Not analysed: not a PA view (not_pa)." in texts_of(report)
    measured = [item for group in report.ContentSequence[-1].ContentSequence for item in tree(group)]
    assert [item for item in measured if item.ValueType == "NUM"] == []
    assert coded(report, "Finding") == coded(report, "Certainty") == []


@pytest.mark.parametrize(
    ("probability", "point", "words"),
    [
        (0.49996, 0.5, "probability 49.996 %; operating point 50.000 %; flag not raised."),
        (0.4, 0.5, "probability 40.0 %; operating point 50.0 %; flag not raised."),
        (0.5, None, "probability 50.0 %; it has no flag."),
    ],
)
def test_words_tell_a_probability_from_an_operating_point_nearby(
    probability: float, point: float | None, words: str
) -> None:
    found = FindingResult(name="pneumonia", probability=probability, operating_point=point)
    report = structured_report(result_of(findings=(found,)))
    assert f"pneumonia: {words}" in texts_of(report)
    assert ("No finding has a flag" if point is None else "No flag raised.") in texts_of(report)


def test_a_note_is_coded_and_said_whole() -> None:
    report = structured_report(result_of(notes=(NOTE,)))
    assert coded(report, "Analysed all the same, although") == [("view_pixels", "99XRAYQ")]
    assert f"Analysed all the same, although: {NOTE.meaning} (view_pixels)." in texts_of(report)


def test_it_names_what_it_replaces() -> None:
    assert "PredecessorDocumentsSequence" not in structured_report(result_of())
    (before,) = structured_report(result_of(replaces=(BEFORE,))).PredecessorDocumentsSequence
    (series,) = before.ReferencedSeriesSequence
    named = (
        before.StudyInstanceUID,
        series.SeriesInstanceUID,
        series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID,
    )
    assert named == (BEFORE.study_instance_uid, BEFORE.series_instance_uid, BEFORE.sop_instance_uid)


@pytest.mark.parametrize("name", ["covid19", "COVID-19", "Covid_19"])
def test_a_finding_has_one_code_however_it_is_written(name: str) -> None:
    assert finding(name).value == "840539006"


def test_the_content_holds_nothing_of_the_patient() -> None:
    report = structured_report(result_of(replaces=(BEFORE,)))
    assert "SECRET" in str(report)
    assert "SECRET" not in "\n".join(str(item) for item in report.ContentSequence).upper()


def test_times_are_in_the_films_zone() -> None:
    for offset, time in (("+0930", "224415"), ("-0500", "081415"), ("+9999", "131415"), ("EST", "131415")):
        report = read_back(structured_report(result_of(film_without_pixels(TimezoneOffsetFromUTC=offset))))
        assert (report.TimezoneOffsetFromUTC, report.ContentTime) == (offset, time)


def test_dcmtk_shows_the_report_as_text(tmp_path: Path) -> None:
    path = tmp_path / "report.dcm"
    path.write_bytes(encoded(structured_report(result_of())))
    done = subprocess.run([tool("dsr2html"), str(path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "Flag raised: pneumonia. The prediction set holds pneumonia alone.",
        "Research. Not a medical device.",
        "pneumonia: probability 87.3 % (95 % interval 80.1 % to 92.4 %); operating point 50.0 %",
        "COVID-19: probability 0.4 %; operating point 30.0 %; flag not raised.",
    ):
        assert words in done.stdout
