"""Patient and study of any film: as the film has them, in a character set that can write them."""

import warnings
from io import BytesIO

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset

from dicom_gateway.structured_report import structured_report
from tests.unit.gateway.reported import encoded, film_without_pixels, read_back, result_of

YAMADA = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"  # PS3.5 H.3.1
HONG = b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"  # PS3.5 I.2
WANG = b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab"  # PS3.5 J.3


def sent(**attributes: tuple[str, bytes]) -> Dataset:
    """A film as it is read of a file whose elements have this VR and these bytes."""
    stand_ins = {keyword: f"@{keyword}@" for keyword in attributes}
    film = Dataset()
    film.update(film_without_pixels())
    for keyword in attributes:
        film.add_new(keyword, "LO", stand_ins[keyword])
    buffer = BytesIO()
    with warnings.catch_warnings(action="ignore"):
        dcmwrite(buffer, film, implicit_vr=False, little_endian=True)
    content = buffer.getvalue()
    for keyword, (vr, value) in attributes.items():
        stand_in = stand_ins[keyword].encode()
        stand_in += b" " * (len(stand_in) % 2)
        value += (b"\0" if vr in ("UI", "OB", "UN") else b" ") * (len(value) % 2)
        long = vr in ("UN", "OB", "SQ", "UT")
        length = b"\0\0" + len(value).to_bytes(4, "little") if long else len(value).to_bytes(2, "little")
        before = b"LO" + len(stand_in).to_bytes(2, "little") + stand_in
        assert content.count(before) == 1
        content = content.replace(before, vr.encode() + length + value)
    return dcmread(BytesIO(content), force=True)


def raw(report: Dataset, keyword: str) -> bytes:
    """A value as it stands in the written file."""
    element = read_back(report).get_item(keyword)
    assert element is not None
    value = element.value  # the character set is read by pydicom already
    parts = [value] if isinstance(value, (str, bytes)) else value or [""]
    return b"\\".join(part if isinstance(part, bytes) else part.encode("ascii") for part in parts).rstrip(b" \0")


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (b"\\ISO 2022 IR 87", YAMADA),
        (b"\\ISO 2022 IR 149", HONG),
        (b"GB18030", WANG),
        (b"ISO_IR 192", "Wang^XiaoDong=王^小东".encode()),
        (b"ISO_IR 100", "Müller^Jörg".encode("latin-1")),
        (b"ISO_IR 144", "Люкceмбypг".encode("iso8859-5")),
        (b"ISO_IR 100", b"Adams^John Robert Quincy^^Rev.^B.A. M.Div."),
    ],
    ids=["Japanese", "Korean", "Chinese", "UTF-8", "German", "Cyrillic", "five components"],
)
def test_a_name_has_the_films_bytes(character_set: bytes, name: bytes) -> None:
    film = sent(SpecificCharacterSet=("CS", character_set), PatientName=("PN", name), StudyDescription=("LO", b"chest"))
    report = structured_report(result_of(film))
    assert raw(report, "PatientName") == name
    assert raw(report, "SpecificCharacterSet") == character_set


@pytest.mark.parametrize(
    ("character_set", "name", "read"),
    [
        (b"", b"M\xfcller", "Müller"),
        (b"ISO_IR 192", b"M\xfcller", "M\N{REPLACEMENT CHARACTER}ller"),
        (b"NO_SUCH_SET", b"M\xfcller", "Müller"),
    ],
    ids=["undeclared", "not what it says", "unknown"],
)
def test_what_its_own_set_cannot_write_is_written_in_utf_8(character_set: bytes, name: bytes, read: str) -> None:
    film = sent(SpecificCharacterSet=("CS", character_set), PatientName=("PN", name))
    report = read_back(structured_report(result_of(film)))
    assert (report.SpecificCharacterSet, str(report.PatientName)) == ("ISO_IR 192", read)


def test_a_set_in_which_pydicom_cannot_write_an_empty_part() -> None:
    film = sent(SpecificCharacterSet=("CS", b"ISO 2022 IR 87"), AccessionNumber=("SH", b"\\A1"))
    assert raw(structured_report(result_of(film)), "AccessionNumber") == b"\\A1"


def test_our_own_words_count_too() -> None:
    report = structured_report(
        result_of(prediction_set=None, findings=(result_of().findings[0].__class__(name="Erguß", probability=0.5),))
    )
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert "Erguß" in str(read_back(report))


def test_what_must_be_there_is_there_and_empty() -> None:
    film = Dataset()
    film.SOPClassUID, film.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3"
    report = read_back(structured_report(result_of(film)))
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
        assert not report[keyword].value
    assert report.StudyInstanceUID.startswith("2.25.")
    assert "ReferencedRequestSequence" not in report
    assert "SpecificCharacterSet" not in report


def test_faults_are_copied_as_they_are() -> None:
    faults = {
        "StudyDate": ("DA", b"2026.01.01"),
        "StudyTime": ("TM", b"99:99"),
        "PatientBirthDate": ("DA", b"1950"),
        "PatientAge": ("AS", b"45"),
        "PatientSex": ("CS", b"male"),
        "PatientID": ("LO", b"X" * 100),
        "StudyInstanceUID": ("UI", b"1.2.003.04"),
        "SeriesInstanceUID": ("UI", b"1.2.0.00"),
        "StudyID": ("SH", b"a\\b"),
    }
    report = structured_report(result_of(sent(**faults)))
    for keyword in faults.keys() - {"SeriesInstanceUID"}:
        assert raw(report, keyword) == faults[keyword][1]
    (series,) = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert series.SeriesInstanceUID == "1.2.0.00"


def test_a_wrong_vr_is_put_right() -> None:
    film = sent(
        PatientID=("UN", b"PID 7"), PatientName=("OB", b"A^B"), StudyID=("FD", b"\0" * 8), AccessionNumber=("SQ", b"")
    )
    report = read_back(structured_report(result_of(film)))
    assert (report.PatientID, report.PatientName, report["StudyID"].VR) == ("PID 7", "A^B", "SH")
    assert report.AccessionNumber == ""


def test_the_request_is_the_films() -> None:
    film = film_without_pixels(FillerOrderNumberImagingServiceRequest="F1")
    (request,) = structured_report(result_of(film)).ReferencedRequestSequence
    assert (request.AccessionNumber, request.FillerOrderNumberImagingServiceRequest) == ("ACC-SECRET", "F1")
    assert request.StudyInstanceUID == film.StudyInstanceUID


def test_each_request_of_several_is_named() -> None:
    film = film_without_pixels()
    asked = [Dataset(), Dataset()]
    for number, item in enumerate(asked):
        item.AccessionNumber, item.RequestedProcedureID = f"A{number}", f"R{number}"
    issuer, code = Dataset(), Dataset()
    issuer.LocalNamespaceEntityID = "HOSPITAL"
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "36554-4", "LN", "XR Chest Single view"
    film.RequestAttributesSequence, film.IssuerOfAccessionNumberSequence, film.ProcedureCodeSequence = (
        asked,
        [issuer],
        [code],
    )
    report = read_back(structured_report(result_of(film)))
    assert [(one.AccessionNumber, one.RequestedProcedureID) for one in report.ReferencedRequestSequence] == [
        ("A0", "R0"),
        ("A1", "R1"),
    ]
    assert report.ReferencedRequestSequence[1].IssuerOfAccessionNumberSequence[0].LocalNamespaceEntityID == "HOSPITAL"
    assert report.ProcedureCodeSequence[0].CodeValue == report.PerformedProcedureCodeSequence[0].CodeValue == "36554-4"


def test_values_do_not_get_into_warnings() -> None:
    film = film_without_pixels()
    film.add_new("PatientBirthDate", "LO", "Secret 1950")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        encoded(structured_report(result_of(film)))
    assert [str(one.message) for one in caught if "Secret" in str(one.message)] == []
