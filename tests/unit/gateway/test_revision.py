"""Is a film that arrives again the same film?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_gateway.encode import in_syntax, save
from dicom_gateway.header import IMAGE_TAGS
from dicom_gateway.revision import GATE_TAGS, film_digest, same_film
from tests.phantoms import chest_film, chest_pixels
from tests.unit.gateway.test_part10 import DEEP, sequence, with_raw

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about what we do to it

SMALL = chest_pixels(48, 40)


def lut(entries: list[int], *, first: int = 0, bits: int = 16, extra: str = "") -> Sequence:
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    table.add_new("LUTData", "US", entries)
    table.LUTExplanation = extra
    return Sequence([table])


def view(code: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SRT", ""
    return item


def base(**attributes: Any) -> Dataset:
    windowed: dict[str, Any] = {"WindowCenter": 2000, "WindowWidth": 3000, "BurnedInAnnotation": "NO"}
    return chest_film("again", pixels=SMALL, **(windowed | attributes))


def changed_pixel(film: Dataset) -> None:
    film.PixelData = film.PixelData[:-2] + b"\x01\x02"


def remove_window(film: Dataset) -> None:
    del film.WindowCenter, film.WindowWidth


def setting(**attributes: Any) -> Callable[[Dataset], None]:
    def change(film: Dataset) -> None:
        for keyword, value in attributes.items():
            setattr(film, keyword, value)

    return change


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (setting(), True),
        (setting(PatientName="Other^Name", PatientID="9", AccessionNumber="8"), True),
        (setting(StudyTime="101112", InstitutionName="Elsewhere", SOPInstanceUID="1.2.3"), True),
        (changed_pixel, False),
        (remove_window, False),
        (setting(WindowCenter=2001), False),
        (setting(WindowCenter=[2000, 900], WindowWidth=[3000, 90]), False),
        (setting(WindowWidth=2999), False),
        (setting(VOILUTFunction="SIGMOID"), False),
        (setting(PhotometricInterpretation="MONOCHROME1"), False),
        (setting(RescaleSlope=-1, RescaleIntercept=4095), False),
        (setting(PixelPaddingValue=0), False),
        (setting(BitsStored=11), False),
        (setting(Rows=40, Columns=48), False),
        (setting(ViewPosition="AP"), False),
        (setting(Modality="CR"), False),
        (setting(BodyPartExamined="HAND"), False),
        (setting(BurnedInAnnotation="YES"), False),
        (setting(PatientAge="046Y"), False),
        (setting(PatientBirthDate="19800101"), False),
        (setting(VOILUTSequence=lut([0, 1, 2])), False),
        (setting(PatientOrientation=["A", "F"]), False),
        (setting(QualityControlImage="YES"), False),
        (setting(ViewCodeSequence=[view("R-10206")]), False),
        (setting(ViewCodeSequence=[view("unknown")]), True),
        (setting(ImageType=["DERIVED", "SECONDARY"]), False),
        (setting(ImageType=["DERIVED", "PRIMARY"]), True),
        (setting(SeriesDescription="Bone suppressed"), False),
        (setting(SeriesDescription="Chest"), True),
        (setting(ContentDate="20260102"), True),
    ],
)
def test_what_counts(tmp_path: Path, change: Callable[[Dataset], None], same: bool) -> None:
    one, other = base(), base()
    change(other)
    paths = save(one, tmp_path / "one.dcm"), save(other, tmp_path / "other.dcm")
    assert same_film(*paths) == same
    assert same_film(*reversed(paths)) == same


@pytest.mark.parametrize("keyword", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize(
    ("table", "same"),
    [
        (lut([0, 100, 4000]), True),
        (lut([0, 100, 4000], extra="another name"), True),
        (lut([0, 101, 4000]), False),
        (lut([0, 100, 4000], first=1), False),
        (lut([0, 100, 4000], bits=12), False),
        (lut([0, 100, 4000, 4000]), False),
    ],
    ids=["same", "explanation", "entry", "first", "bits", "length"],
)
def test_look_up_tables_count_by_their_entries(tmp_path: Path, keyword: str, table: Sequence, same: bool) -> None:
    one = save(base(**{keyword: lut([0, 100, 4000])}), tmp_path / "one.dcm")
    other = save(base(**{keyword: table}), tmp_path / "other.dcm")
    assert same_film(one, other) == same


@pytest.mark.parametrize(
    ("syntax", "same"),
    [
        (uid.ImplicitVRLittleEndian, True),
        (uid.DeflatedExplicitVRLittleEndian, True),
        (uid.ExplicitVRBigEndian, False),
        (uid.JPEGLSLossless, False),
        (uid.RLELossless, False),
    ],
)
def test_another_coding_of_the_same_bytes(tmp_path: Path, syntax: str, same: bool) -> None:
    one = save(base(), tmp_path / "one.dcm")
    other = save(in_syntax(base(), syntax), tmp_path / "other.dcm")
    assert same_film(one, other) == same
    assert same_film(other, other)


def test_a_missing_or_broken_file_is_never_the_same(tmp_path: Path) -> None:
    one = save(base(), tmp_path / "one.dcm")
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(one.read_bytes()[:-1])
    empty = tmp_path / "empty.dcm"
    empty.touch()
    for other in (tmp_path / "gone.dcm", cut, empty, tmp_path):
        assert not same_film(one, other)
        assert not same_film(other, one)


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [(0x00280010, b"US", b"abc"), (0x00281050, b"DS", b"\xff\xfe!!"), (0x00281050, b"DS", b"wide\\3")],
)
def test_odd_values_never_raise(tmp_path: Path, tag: int, vr: bytes, value: bytes) -> None:
    one = save(base(), tmp_path / "one.dcm")
    odd = with_raw(save(base(), tmp_path / "odd.dcm"), tag, vr, value)
    assert not same_film(one, odd)


def test_nested_look_up_tables_are_bounded(tmp_path: Path) -> None:
    one = save(base(), tmp_path / "one.dcm")
    content = one.read_bytes()
    start = content.index(b"\xe0\x7f\x10\x00OW")
    for depth in (50, DEEP):
        deep = tmp_path / f"{depth}.dcm"
        deep.write_bytes(content[:start] + sequence((0x0028, 0x3010), depth) + content[start:])
        assert not same_film(one, deep)


def test_the_digest_covers_every_attribute_the_pixels_are_read_with() -> None:
    assert not set(IMAGE_TAGS) & set(GATE_TAGS)
    assert {"Rows", "WindowCenter", "PhotometricInterpretation"} <= set(IMAGE_TAGS)


def test_large_pixels_are_covered_to_the_last_byte(tmp_path: Path) -> None:
    pixels = np.zeros((1200, 1000), np.uint16)
    one = save(chest_film("again", pixels=pixels), tmp_path / "one.dcm")
    pixels[-1, -1] = 1
    other = save(chest_film("again", pixels=pixels), tmp_path / "other.dcm")
    assert film_digest(one) != film_digest(other)
