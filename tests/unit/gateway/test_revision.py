"""Is a film that arrives again the same film, of the same patient and study?"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence

from dicom_gateway.contexts import TRANSFER_SYNTAXES
from dicom_gateway.encode import in_syntax, save
from dicom_gateway.header import IDENTIFYING_TAGS, IMAGE_TAGS
from dicom_gateway.pixels import read_radiograph
from dicom_gateway.revision import ALL_TAGS, UNKNOWN, Comparison, compare, spoken
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


def base(**attributes: Any) -> Dataset:
    windowed: dict[str, Any] = {"WindowCenter": 2000, "WindowWidth": 3000, "BurnedInAnnotation": "NO"}
    return chest_film("again", **({"pixels": SMALL} | windowed | attributes))


def changed_pixel(film: Dataset) -> None:
    film.PixelData = film.PixelData[:-2] + b"\x01\x02"


def remove_window(film: Dataset) -> None:
    del film.WindowCenter, film.WindowWidth


def setting(**attributes: Any) -> Callable[[Dataset], None]:
    def change(film: Dataset) -> None:
        for keyword, value in attributes.items():
            setattr(film, keyword, value)

    return change


SAME = Comparison(same=True)
OTHER = Comparison(same=False)
PLAIN = {row.uid for row in TRANSFER_SYNTAXES if row.codec == "raw"}


def changed(*keywords: str) -> Comparison:
    return Comparison(same=False, identity_changed=keywords)


def code(value: str, scheme: str = "SCT", modifier: str = "") -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, f"meaning of {value}"
    if modifier:
        item.ViewModifierCodeSequence = code(modifier)
    return Sequence([item])


def never(_one: Path, _other: Path) -> bool:
    raise AssertionError("nothing is to be decoded")


def compared(folder: Path, one: Dataset, other: Dataset) -> Comparison:
    """Either way round."""
    paths = save(one, folder / "one.dcm"), save(other, folder / "other.dcm")
    found = compare(*paths, never)
    assert compare(*reversed(paths), never) == found
    return found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (setting(), SAME),
        (setting(StudyTime="101112", InstitutionName="Elsewhere", SOPInstanceUID="1.2.3"), SAME),
        (setting(Manufacturer="Acme", ManufacturerModelName="Plate 5", StationName="DX2"), SAME),
        (setting(ViewPosition="pa ", PatientID="PID-SECRET "), SAME),
        (setting(WindowCenter="2000.0", StudyDate="2026.01.01"), SAME),
        (setting(ViewCodeSequence=Sequence([])), SAME),
        (setting(PatientName="Married^Person"), Comparison(same=True, demographics_changed=("PatientName",))),
        (setting(PatientSex="F"), Comparison(same=True, demographics_changed=("PatientSex",))),
        (setting(PatientName="Secret^Person^^^"), SAME),
        (changed_pixel, OTHER),
        (remove_window, OTHER),
        (setting(WindowCenter=2001), OTHER),
        (setting(WindowCenter=[2000, 900], WindowWidth=[3000, 90]), OTHER),
        (setting(WindowWidth=2999), OTHER),
        (setting(VOILUTFunction="SIGMOID"), OTHER),
        (setting(PhotometricInterpretation="MONOCHROME1"), OTHER),
        (setting(RescaleSlope=-1, RescaleIntercept=4095), OTHER),
        (setting(PixelPaddingValue=0), OTHER),
        (setting(BitsStored=11), OTHER),
        (setting(Rows=40, Columns=48), OTHER),
        (setting(Modality="CR"), OTHER),
        (setting(SOPClassUID=uid.ComputedRadiographyImageStorage), OTHER),
        (setting(BodyPartExamined="HAND"), OTHER),
        (setting(BurnedInAnnotation="YES"), OTHER),
        (setting(PatientAge="046Y"), OTHER),
        (setting(VOILUTSequence=lut([0, 1, 2])), OTHER),
        (setting(PatientOrientation=["A", "F"]), OTHER),
        (setting(QualityControlImage="YES"), OTHER),
        (setting(ImageType=["DERIVED", "SECONDARY"]), OTHER),
        (setting(ImageType=["DERIVED", "PRIMARY"]), SAME),
        (setting(SeriesDescription="Bone suppressed"), OTHER),
        (setting(SeriesDescription="Chest"), SAME),
        (setting(ContentDate="20260102"), SAME),
        (setting(PatientID="9"), changed("PatientID")),
        (setting(PatientID="pid-secret"), changed("PatientID")),
        (setting(PatientID="", PatientName="Other^Name"), changed("PatientID", "PatientName")),
        (setting(PatientID="PID-SECRET" + 70 * "0"), changed("PatientID")),
        (setting(IssuerOfPatientID="B"), changed("IssuerOfPatientID")),
        (setting(PatientBirthDate="19800101"), changed("PatientBirthDate")),
        (setting(AccessionNumber="8"), changed("AccessionNumber")),
        (setting(StudyInstanceUID="1.2.3"), changed("StudyInstanceUID")),
        (setting(SeriesInstanceUID="1.2.3"), changed("SeriesInstanceUID")),
        (setting(StudyDate="20260102"), changed("StudyDate")),
        (setting(Laterality="L"), changed("Laterality")),
        (setting(ImageLaterality="R"), changed("ImageLaterality")),
        (setting(ViewPosition="AP"), changed("ViewPosition")),
        (setting(ViewCodeSequence=code("399348003")), changed("ViewCodeSequence")),
        (
            setting(PatientID="9", PatientName="Other^Name", AccessionNumber="8"),
            Comparison(
                same=False,
                identity_changed=("PatientID", "AccessionNumber"),
                demographics_changed=("PatientName",),
            ),
        ),
    ],
)
def test_what_counts(tmp_path: Path, change: Callable[[Dataset], None], expected: Comparison) -> None:
    one, other = base(), base()
    change(other)
    assert compared(tmp_path, one, other) == expected


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (setting(PatientAge="046Y", PatientName="Married^Person"), ("PatientAge",)),
        (setting(SeriesDescription="bone suppressed"), ("derived",)),
        (setting(BodyPartExamined="HAND"), ("BodyPartExamined",)),
        (setting(WindowCenter=17), ("WindowCenter",)),
        (setting(PatientID="other", WindowWidth=17), ("PatientID", "WindowWidth")),
        (setting(PixelData=bytes(chest_film().Rows * chest_film().Columns * 2)), ("pixels",)),
        (setting(PatientName="Married^Person"), ()),
    ],
)
def test_what_makes_it_a_revision_is_named(
    tmp_path: Path, change: Callable[[Dataset], None], changed: tuple[str, ...]
) -> None:
    film = base()
    change(film)
    found = compared(tmp_path, base(), film)
    assert (found.changed, found.same) == (changed, not changed)
    assert all(spoken([one]) for one in changed)


def test_a_lossy_coding_differs_in_its_transfer_syntax(tmp_path: Path) -> None:
    one, other = tmp_path / "one.dcm", tmp_path / "other.dcm"
    save(base(), one)
    save(in_syntax(base(), uid.JPEGLSNearLossless), other)
    assert compare(one, other, lambda *_: True).changed == ("transfer_syntax",)


def test_without_a_patient_id_the_name_is_all_there_is(tmp_path: Path) -> None:
    one, other = base(PatientID=""), base(PatientID="", PatientName="Other^Name", PatientSex="F")
    assert compared(tmp_path, one, other) == changed("PatientName", "PatientSex")
    assert compared(tmp_path, one, base(PatientID="")) == SAME


def test_view_codes_count_by_value_and_scheme(tmp_path: Path) -> None:
    one, meaning = base(ViewCodeSequence=code("399348003")), base(ViewCodeSequence=code("399348003"))
    meaning.ViewCodeSequence[0].CodeMeaning = "postero-anterior"
    assert compared(tmp_path, one, meaning) == SAME
    for other in (
        code("272479007"),
        code("399348003", "SRT"),
        code("399348003", modifier="1"),
        [*code("1"), *code("2")],
    ):
        assert compared(tmp_path, one, base(ViewCodeSequence=Sequence(other))) == changed("ViewCodeSequence")


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
    other = base(**{keyword: table})
    assert compared(tmp_path, base(**{keyword: lut([0, 100, 4000])}), other) == Comparison(same=same)


@pytest.mark.parametrize("syntax", sorted(PLAIN))
@pytest.mark.parametrize("bits", [8, 16])
def test_values_count_and_not_their_coding(tmp_path: Path, syntax: str, bits: int) -> None:
    """Bytes of look-up tables and pixels change places, and a signed number is an unsigned one in Implicit VR."""
    pixels = chest_pixels(47, 39) if bits == 16 else chest_pixels(47, 39, bits=8).astype(np.uint8)
    table = lut([0, 100, 40000, 7], first=3)
    table[0]["LUTDescriptor"].VR, table[0].LUTDescriptor = "SS", [4, -5, 16]
    film = base(pixels=pixels, VOILUTSequence=table, PatientName="Müller^Änne", SpecificCharacterSet="ISO_IR 100")
    film.add_new("PixelPaddingValue", "US", 63536)
    coded = in_syntax(film, syntax)
    assert compared(tmp_path, film, coded) == SAME
    coded.add_new("PixelPaddingValue", "SS", -2000)
    assert compared(tmp_path, film, coded) == SAME
    coded.PatientID = "9"
    assert compared(tmp_path, film, coded) == changed("PatientID")
    pixels[-1, -1] ^= 1
    other = base(pixels=pixels, VOILUTSequence=table, PatientName="Müller^Änne", SpecificCharacterSet="ISO_IR 100")
    other.add_new("PixelPaddingValue", "US", 63536)
    assert compared(tmp_path, film, in_syntax(other, syntax)) == OTHER


def test_eight_bit_pixels_as_words_change_places_in_big_endian(tmp_path: Path) -> None:
    pixels = chest_pixels(47, 39, bits=8).astype(np.uint8)
    film = chest_film("again", pixels=pixels)
    coded = in_syntax(film, uid.ExplicitVRBigEndian)
    padded = np.frombuffer(pixels.tobytes() + b"\0", np.uint8)
    coded.PixelData, coded["PixelData"].VR = padded.reshape(-1, 2)[:, ::-1].tobytes(), "OW"
    assert compared(tmp_path, film, coded) == SAME


@pytest.mark.parametrize("syntax", [row for row in TRANSFER_SYNTAXES if row.codec != "raw"], ids=lambda row: row.name)
@pytest.mark.parametrize("answer", [True, False])
def test_another_coding_is_decoded_unless_it_is_lossy(tmp_path: Path, syntax: Any, answer: bool) -> None:
    asked = []

    def same_picture(*films: Path) -> bool:
        asked.append(films)
        return answer

    coded = in_syntax(base(), syntax.uid)
    for keyword in ("BitsStored", "HighBit", "BitsAllocated", "WindowCenter", "WindowWidth"):
        setattr(coded, keyword, getattr(base(), keyword))
    one, other = save(base(), tmp_path / "one.dcm"), save(coded, tmp_path / "other.dcm")
    assert compare(one, other, same_picture) == Comparison(same=answer and not syntax.lossy)
    assert asked == ([] if syntax.lossy else [(one, other)])
    coded.PatientID = "9"
    save(coded, other)
    asked.clear()
    assert compare(one, other, same_picture) == changed("PatientID")
    assert asked == []


def test_fragments_and_their_offset_table_do_not_matter(tmp_path: Path) -> None:
    """An archive may cut a codestream in other pieces."""
    coded, cut = in_syntax(base(), uid.JPEG2000), in_syntax(base(), uid.JPEG2000)
    (frame,) = generate_frames(coded.PixelData, number_of_frames=1)
    cut.PixelData = encapsulate([frame], fragments_per_frame=3, has_bot=False)
    assert cut.PixelData != coded.PixelData
    assert compared(tmp_path, coded, cut) == SAME
    damaged = bytearray(frame)
    damaged[-10] ^= 1
    cut.PixelData = encapsulate([bytes(damaged)])
    assert compared(tmp_path, coded, cut) == OTHER


def in_odd_fragments(pixels: NDArray[np.uint16], padding: bytes) -> Dataset:
    """JPEG 2000 in two fragments; the first has an odd length, and `padding` behind it that nothing counts."""
    film = in_syntax(base(pixels=pixels), uid.JPEG2000Lossless)
    (frame,) = generate_frames(film.PixelData, number_of_frames=1)
    parts = [b"", frame[:101], frame[101:] + bytes(len(frame) % 2)]
    items = [b"\xfe\xff\x00\xe0" + struct.pack("<L", len(part)) + part for part in parts]
    film.PixelData = items[0] + items[1] + padding + items[2] + padding
    return film


@pytest.mark.parametrize("padding", [b"\0", b" ", b""], ids=["zero", "space", "none"])
def test_fragments_of_odd_length_are_compared_to_the_last(tmp_path: Path, padding: bytes) -> None:
    """Two films that are alike in the first fragment are not the same film; nor is a pixel lost on reading."""
    other = SMALL.copy()
    other[40:] += 100
    one, two = in_odd_fragments(SMALL, padding), in_odd_fragments(other, padding)
    assert one.PixelData[:110] == two.PixelData[:110]
    assert one.PixelData != two.PixelData
    path = save(one, tmp_path / "one.dcm")
    assert compare(path, save(two, tmp_path / "two.dcm"), lambda *_: False) == OTHER
    assert compare(path, save(in_odd_fragments(SMALL, b"\0"), tmp_path / "again.dcm"), never) == SAME
    assert np.array_equal(read_radiograph(path).pixels, SMALL)


def test_a_missing_or_broken_file_is_never_the_same(tmp_path: Path) -> None:
    one = save(base(), tmp_path / "one.dcm")
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(one.read_bytes()[:-1])
    empty = tmp_path / "empty.dcm"
    empty.touch()
    for other in (tmp_path / "gone.dcm", cut, empty, tmp_path):
        assert compare(one, other, never) == changed(UNKNOWN)
        assert compare(other, one, never) == changed(UNKNOWN)


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [(0x00280010, b"US", b"abc"), (0x00281050, b"DS", b"\xff\xfe!!"), (0x00281050, b"DS", b"wide\\3")],
)
def test_odd_values_never_raise_and_are_like_themselves(tmp_path: Path, tag: int, vr: bytes, value: bytes) -> None:
    one = save(base(), tmp_path / "one.dcm")
    odd = with_raw(save(base(), tmp_path / "odd.dcm"), tag, vr, value)
    assert compare(one, odd, never) == OTHER
    again = with_raw(save(base(InstitutionName="Elsewhere"), tmp_path / "again.dcm"), tag, vr, value)
    assert compare(odd, again, never) == SAME


def test_nested_look_up_tables_are_bounded(tmp_path: Path) -> None:
    one = save(base(), tmp_path / "one.dcm")
    content = one.read_bytes()
    start = content.index(b"\xe0\x7f\x10\x00OW")
    for depth in (50, DEEP):
        deep = tmp_path / f"{depth}.dcm"
        deep.write_bytes(content[:start] + sequence((0x0028, 0x3010), depth) + content[start:])
        assert not compare(one, deep, never).same


def test_all_that_is_read_of_a_header_is_compared() -> None:
    assert len(ALL_TAGS) == len(set(ALL_TAGS))
    assert {*IMAGE_TAGS, *IDENTIFYING_TAGS} - set(ALL_TAGS) == {"SOPInstanceUID"}


def test_large_pixels_are_covered_to_the_last_byte(tmp_path: Path) -> None:
    pixels = np.zeros((1200, 1000), np.uint16)
    one = save(chest_film("again", pixels=pixels), tmp_path / "one.dcm")
    pixels[-1, -1] = 1
    other = save(chest_film("again", pixels=pixels), tmp_path / "other.dcm")
    assert compare(one, other, never) == OTHER
