"""The picture of a result: checked by dciodvfy, rendered by DCMTK, and always the same bytes."""

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta, timezone
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom import dcmread, dcmwrite, uid
from pydicom.dataset import Dataset

from dicom_gateway.capture_frames import frames_of
from dicom_gateway.encode import wrap_image
from dicom_gateway.result import FilmResult
from dicom_gateway.secondary_capture import MAKER, secondary_capture
from tests.services import tool
from tests.unit.gateway.captures import AT, NOT_PA, drawn, header, picture, result_of, unflagged


def encoded(capture: Dataset) -> bytes:
    """A Part 10 file."""
    file = BytesIO()
    dcmwrite(file, capture, enforce_file_format=True)
    return file.getvalue()


def with_map(result: FilmResult | None = None, rows: int = 300, columns: int = 255) -> Dataset:
    film = picture(rows, columns)
    return secondary_capture(result or result_of(), film, drawn(film))


def bare() -> Dataset:
    """As little as a received film can have."""
    film = Dataset()
    film.SOPClassUID, film.SOPInstanceUID = uid.DigitalXRayImageStorageForPresentation, "1.2.3"
    return film


def faulty() -> Dataset:
    film = header(ViewPosition=None, PatientName="山田^太郎", StudyDescription="胸部")
    film.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    film.add_new("PatientBirthDate", "LO", "unknown")
    film.StudyTime, film.PatientOrientation, film.LossyImageCompression = "25:00", ["L", "F"], "01"
    film.LossyImageCompressionRatio = "12.5"
    return film


def odd() -> Dataset:
    """Values that no film should have, in VRs that they should not have."""
    film = header()
    film.LossyImageCompression = "01"
    film.add_new("LossyImageCompressionRatio", "LO", "ten to one")
    film.add_new("BodyPartExamined", "LO", "胸部")
    film.add_new("Manufacturer", "LO", ["A", "", "B\tC"])
    film.add_new("StationName", "US", 7)
    film.add_new("PatientOrientation", "OB", b"\x00\xff")
    film.add_new("TimezoneOffsetFromUTC", "LO", "+99:99")
    return film


MADE: dict[str, Callable[[], Dataset]] = {
    "two frames": with_map,
    "one frame": lambda: secondary_capture(unflagged(), picture()),
    "not analysed": lambda: secondary_capture(
        result_of(findings=(), prediction_set=None, not_analysed=NOT_PA), picture()
    ),
    "bare film": lambda: with_map(result_of(bare())),
    "faulty film": lambda: with_map(result_of(faulty())),
    "odd film": lambda: with_map(result_of(odd())),
    "paired body part": lambda: with_map(result_of(header(BodyPartExamined="SHOULDER"))),
    "another body part": lambda: with_map(result_of(header(BodyPartExamined="ABDOMEN"))),
    "body part not said": lambda: with_map(result_of(header(BodyPartExamined=None))),
}


def verified(capture: Dataset, folder: Path) -> list[str]:
    """The errors that dciodvfy finds."""
    path = folder / "capture.dcm"
    path.write_bytes(encoded(capture))
    command = [str(Path(sys.executable).parent / "dciodvfy"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, errors="replace")
    assert "MultiframeTrueColorSCImage" in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("name", MADE)
def test_dciodvfy_finds_no_error_of_ours(name: str, tmp_path: Path) -> None:
    errors = verified(MADE[name](), tmp_path)
    if name in ("faulty film", "odd film"):  # what is copied wrong is wrong
        copied = ("Study Time", "Birth Date", "Body Part", "Orientation", "Timezone", "contains invalid data values")
        errors = [line for line in errors if not any(part in line for part in copied)]
    assert errors == []


def test_dciodvfy_does_find_errors(tmp_path: Path) -> None:
    capture = with_map()
    del capture.ConversionType
    assert any("ConversionType" in line for line in verified(capture, tmp_path))


@pytest.mark.parametrize("frame", [1, 2])
def test_dcmtk_renders_our_pixels(frame: int, tmp_path: Path) -> None:
    film = picture(301, 255)
    over = drawn(film)
    expected = frames_of(result_of(), film, over, AT)
    path, shown = tmp_path / "capture.dcm", tmp_path / "shown.ppm"
    path.write_bytes(encoded(secondary_capture(result_of(), film, over)))
    command = [tool("dcm2pnm"), "+op", "+F", str(frame), str(path), str(shown)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    rendered = cv2.cvtColor(cv2.imread(str(shown)), cv2.COLOR_BGR2RGB)
    assert np.array_equal(rendered, expected.pixels[frame - 1])
    assert np.array_equal(rendered[expected.film][..., 2], film)


@pytest.mark.parametrize("name", MADE)
def test_it_reads_back_as_it_was_made(name: str) -> None:
    capture = MADE[name]()
    read = dcmread(BytesIO(encoded(capture)))
    assert read.pixel_array.tobytes() == capture.PixelData[: read.pixel_array.nbytes]
    assert int(read.NumberOfFrames) == (2 if "FrameIncrementPointer" in read else 1)
    assert read.file_meta.TransferSyntaxUID == uid.ExplicitVRLittleEndian


@pytest.mark.parametrize("name", MADE)
def test_the_same_result_gives_the_same_bytes(name: str) -> None:
    assert encoded(MADE[name]()) == encoded(MADE[name]())


def test_another_result_is_another_object() -> None:
    whole = with_map()
    for other in (
        with_map(result_of(film_digest="ef" * 32)),
        with_map(
            result_of(
                algorithm=result_of().algorithm.__class__(**vars(result_of().algorithm) | {"bundle_digest": "cd" * 32})
            )
        ),
    ):
        assert other.SOPInstanceUID != whole.SOPInstanceUID
        assert other.SeriesInstanceUID != whole.SeriesInstanceUID


def test_it_stands_in_the_films_study_and_points_to_the_film() -> None:
    film = header(Manufacturer="Maker", ManufacturerModelName="Model", PatientOrientation=["L", "F"])
    capture = with_map(result_of(film))
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber", "StudyDate", "PatientAge"):
        assert capture[keyword].value == film[keyword].value, keyword
    for keyword in ("Manufacturer", "ManufacturerModelName", "BodyPartExamined", "PatientOrientation"):
        assert capture[keyword].value == film[keyword].value, keyword
    assert capture.SecondaryCaptureDeviceManufacturer == MAKER
    assert capture.SeriesInstanceUID not in (film.SeriesInstanceUID, capture.SOPInstanceUID)
    (source,), (series,) = capture.SourceImageSequence, capture.ReferencedSeriesSequence
    assert source.ReferencedSOPInstanceUID == film.SOPInstanceUID
    assert source.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert series.SeriesInstanceUID == film.SeriesInstanceUID
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == film.SOPInstanceUID
    assert (capture.Modality, capture.ImageType) == ("OT", ["DERIVED", "SECONDARY"])
    assert "PixelSpacing" not in capture


def test_its_words_say_research_and_no_patient() -> None:
    capture = with_map(unflagged())
    ours = " ".join(
        str(capture[name].value)
        for name in (
            "SeriesDescription",
            "ImageComments",
            "DerivationDescription",
            "SecondaryCaptureDeviceManufacturer",
        )
    )
    assert "RESEARCH - not a medical device" in capture.ImageComments
    assert "research, not a medical device" in capture.SeriesDescription
    assert "no flag" in ours
    assert "ecret" not in ours.lower()


@pytest.mark.parametrize(("of_the_film", "of_ours"), [(None, "NO"), ("NO", "NO"), ("YES", "YES"), ("", "NO")])
def test_burned_in_annotation_is_the_films(of_the_film: str | None, of_ours: str) -> None:
    film = header() if of_the_film is None else header(BurnedInAnnotation=of_the_film)
    assert with_map(result_of(film)).BurnedInAnnotation == of_ours


def test_no_patient_is_in_the_pixels() -> None:
    films = [header(PatientName=name, PatientID=name, PatientAge="051Y") for name in ("Someone^Else", "")]
    frames = [with_map(result_of(film)).PixelData for film in films]
    assert frames[0] == frames[1]


def test_a_lossy_film_makes_a_lossy_picture() -> None:
    capture = with_map(result_of(faulty()))
    assert (capture.LossyImageCompression, capture.LossyImageCompressionRatio) == ("01", 12.5)
    assert "LossyImageCompression" not in with_map()


@pytest.mark.parametrize(
    ("offset", "date", "time"),
    [
        ("+0545", "20261128", "185915.123456"),
        ("-1130", "20261128", "014415.123456"),
        ("nonsense", "20261128", "131415.123456"),
    ],
)
def test_times_are_in_the_films_zone(offset: str, date: str, time: str) -> None:
    """One zone holds for the whole object, the film's own dates too."""
    film = header()
    film.TimezoneOffsetFromUTC = offset
    capture = with_map(result_of(film))
    assert (capture.ContentDate, capture.ContentTime) == (date, time)
    assert capture.TimezoneOffsetFromUTC == offset


def test_without_a_zone_times_are_as_given() -> None:
    given = AT.astimezone(timezone(timedelta(hours=2)))
    capture = with_map(result_of(at=given))
    assert capture.ContentTime == "151415.123456"
    assert "TimezoneOffsetFromUTC" not in capture


def test_names_in_another_character_set_stay_as_they_are() -> None:
    read = dcmread(BytesIO(encoded(with_map(result_of(faulty())))))
    assert (str(read.PatientName), read.StudyDescription) == ("山田^太郎", "胸部")


def test_a_film_made_of_a_picture(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "film.png"), picture(64, 48))
    film = wrap_image(tmp_path / "film.png")
    del film.PixelData
    assert verified(with_map(result_of(film)), tmp_path) == []
