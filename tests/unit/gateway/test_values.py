"""Numbers as vendors write them."""

import struct
from pathlib import Path

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from dicom_gateway.encode import save
from dicom_gateway.part10 import scan
from dicom_gateway.values import as_stored, is_valid_uid, numbers, one_uid, parsed, text, texts
from tests.unit.gateway.films import SMALL, film_of
from tests.unit.gateway.test_part10 import with_raw

WRITTEN: dict[str, float | None] = {
    "2047.5": 2047.5,
    "2047,5": 2047.5,
    " +2047,5\0": 2047.5,
    "-1024": -1024,
    "1.5E3": 1500,
    "1.5d+3": 1500,
    ",5": 0.5,
    "5.": 5,
    "0,500": 0.5,
    "2048,000": 2048,
    "1,234.5": 1234.5,
    "1.234,5": 1234.5,
    "2047.5 HU": 2047.5,
    "4096\t": 4096,
    "128,000": 128,  # DS has no sign for thousands
    "1,000": 1,
    "0,143": 0.143,
    "1,234": 1.234,
    "1,234,567": None,
    "2047.5.1": None,
    "12 34": None,
    "0x12": None,
    "--5": None,
    "1E400": None,
    "nan": None,
    "HU": None,
    "": None,
}


@pytest.mark.parametrize("text", WRITTEN)
def test_one_component(text: str) -> None:
    assert parsed(text) == WRITTEN[text]


@pytest.mark.parametrize(
    ("vr", "content", "expected"),
    [
        (b"DS", b"2047,5\\4096 ", (2047.5, 4096)),
        (b"DS", b"128,000\\256,000", (128, 256)),
        (b"DS", b"\\100 ", (None, 100)),
        (b"DS", b"  ", ()),
        (b"DS", b"\0\0", ()),
        (b"DS", b"", ()),
        (b"LO", b"2047,5", (2047.5,)),
        (b"IS", b"2047.5", (2047.5,)),
        (b"US", struct.pack("<2H", 2047, 61440), (2047, 61440)),
        (b"SS", struct.pack("<h", -5), (-5,)),
        (b"FD", struct.pack("<d", 0.25), (0.25,)),
        (b"FL", struct.pack("<f", float("inf")), (None,)),
        (b"US", b"abc", (None,)),
    ],
)
def test_every_component_of_an_element_of_any_vr(
    tmp_path: Path, vr: bytes, content: bytes, expected: tuple[float | None, ...]
) -> None:
    path = with_raw(save(film_of(SMALL), tmp_path / "film.dcm"), 0x00281050, vr, content)
    with path.open("rb") as handle:
        assert numbers(scan(handle, ["WindowCenter"]).dataset, "WindowCenter") == expected


@pytest.mark.parametrize(
    ("value", "signed", "bits", "expected"),
    [
        (61440, True, 16, -4096),
        (-4096, True, 16, -4096),
        (-4096, False, 16, 61440),
        (2048, True, 12, -2048),
        (0xF800, True, 12, -2048),
        (-32768, True, 12, None),
        (4095, False, 12, 4095),
        (0xFFFF, False, 12, None),
        (0xF0, True, 8, -16),
    ],
)
def test_sixteen_bits_as_a_stored_value(value: int, signed: bool, bits: int, expected: int | None) -> None:
    assert as_stored(value, signed=signed, bits=bits) == expected


@pytest.mark.parametrize("vr", ["UN", None])
@pytest.mark.parametrize(
    ("keyword", "content", "expected"),
    [
        ("WindowCenter", b"2047,5", (2047.5,)),
        ("PixelPaddingValue", struct.pack("<H", 61440), (61440,)),
        ("LUTDescriptor", struct.pack("<3H", 0, 61440, 16), (0, 61440, 16)),
    ],
)
def test_an_element_without_a_vr_has_that_of_the_dictionary(
    vr: str | None, keyword: str, content: bytes, expected: tuple[float, ...]
) -> None:
    dataset, tag = Dataset(), Tag(keyword)
    dataset[tag] = RawDataElement(tag, vr, len(content), content, 0, vr is None, True)
    assert numbers(dataset, keyword) == expected


def test_an_element_that_pydicom_has_read() -> None:
    dataset = Dataset()
    dataset.PixelSpacing, dataset.Rows, dataset.RescaleType = [0.2, 0.1], 7, None
    found = [numbers(dataset, keyword) for keyword in ("PixelSpacing", "Rows", "RescaleType", "Columns")]
    assert found == [(0.2, 0.1), (7,), (), ()]


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ("1.2.840.10008.1.1", True),
        ("2.25.00012", True),
        ("1" * 64, True),
        ("1" * 65, False),
        ("", False),
        (".", False),
        ("1..2", False),
        ("1.2.", False),
        ("1.2 ", False),
        ("1.2\n", False),
        ("١.٢", False),
        ("../1", False),
    ],
)
def test_valid_uids(value: str, valid: bool) -> None:
    assert is_valid_uid(value) == valid


def raw_element(keyword: str, vr: str, content: bytes) -> Dataset:
    dataset, tag = Dataset(), Tag(keyword)
    dataset[tag] = RawDataElement(tag, vr, len(content), content, 0, False, True)
    return dataset


@pytest.mark.parametrize(
    ("content", "uid"),
    [
        (b"1.2.3\0", "1.2.3"),
        (b" 1.2.3 ", "1.2.3"),
        (b"1.2.3\\1.2.3 ", "1.2.3"),
        (b"1.2.3\\1.2.4 ", ""),
        (b"1." + b"2" * 68, ""),
        (b"1.2.3.DOE", ""),
        (b"", ""),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_uid_is_the_only_one_and_whole(content: bytes, uid: str) -> None:
    assert one_uid(raw_element("StudyInstanceUID", "UI", content), "StudyInstanceUID") == uid


@pytest.mark.parametrize("vr", ["CS", "LO", "OB", "UN"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_text_of_any_vr(vr: str) -> None:
    assert text(raw_element("ShutterShape", vr, b"CIRCULAR\0"), "ShutterShape") == "CIRCULAR"


def test_text_is_whole_and_has_no_control_characters() -> None:
    dataset = Dataset()
    dataset.DerivationDescription = "a\0b\n" + "c" * 2000
    dataset.ImageType = ["DERIVED", "", "PRIMARY"]
    assert text(dataset, "DerivationDescription") == "ab " + "c" * 1021
    assert texts(dataset, "ImageType") == ["DERIVED", "", "PRIMARY"]
    assert (text(dataset, "Modality"), texts(dataset, "Modality")) == ("", [""])
