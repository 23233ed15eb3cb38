"""The bounded walk over a Part 10 file, and the header read from it."""

import io
import random
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from dicom_gateway import inflated, part10
from dicom_gateway.encode import save
from dicom_gateway.errors import (
    Malformed,
    MissingIdentifier,
    NoPixelData,
    PixelError,
    Refusal,
    TooDeep,
    TooLarge,
    Truncated,
)
from dicom_gateway.header import read_header
from dicom_gateway.part10 import at_dataset, encode_meta, scan
from dicom_gateway.pixels import read_radiograph
from dicom_gateway.revision import compare
from dicom_gateway.values import is_valid_uid
from tests.phantoms import chest_film, chest_pixels, write_film

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about what we do to it

SMALL = chest_pixels(48, 40)
DEEP = 5000


def film_file(folder: Path, **attributes: Any) -> Path:
    """A film of 48 x 40 pixels, without pydicom's checks of values."""
    film = chest_film("header", pixels=SMALL)
    for keyword, value in attributes.items():
        if value is None:
            delattr(film, keyword)
        else:
            setattr(film, keyword, value)
    return save(film, folder / "film.dcm")


def with_raw(path: Path, tag: int, vr: bytes, value: bytes) -> Path:
    """Rewrite a film with one element replaced by these very bytes, explicit VR little endian."""
    content = path.read_bytes()
    group, element = tag >> 16, tag & 0xFFFF
    raw = struct.pack("<HH2sH", group, element, vr, len(value)) + value
    start = content.find(struct.pack("<HH", group, element), 132)
    if start < 0:
        start = content.find(struct.pack("<HH2s", 0x0028, 0x0002, b"US"))
        end = start
    else:
        end = start + 8 + struct.unpack_from("<H", content, start + 6)[0]
    path.write_bytes(content[:start] + raw + content[end:])
    return path


def boundaries(path: Path) -> Iterator[int]:
    """Offsets in an explicit VR little endian file at which a top-level element of the data set ends."""
    content = path.read_bytes()
    with path.open("rb") as handle:
        at_dataset(handle)
        position = handle.tell()
    while position < len(content):
        if content[position + 4 : position + 6] in (b"OB", b"OW", b"SQ", b"UN"):
            position += 12 + struct.unpack_from("<L", content, position + 8)[0]
        else:
            position += 8 + struct.unpack_from("<H", content, position + 6)[0]
        yield position


SYNTAXES = [
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.JPEGLSLossless,
    uid.RLELossless,
]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda one: one.name)
def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path: Path, syntax: str) -> None:
    """A cut between two elements cannot be told from a film without pixels: those alone come through, to fail later."""
    path = write_film(tmp_path, syntax=syntax, pixels=SMALL)
    whole = path.read_bytes()
    explicit = write_film(tmp_path, "plain", pixels=SMALL)
    between = len(list(boundaries(explicit)))
    cut_file = tmp_path / "cut.dcm"
    headers = 0
    ends = {end + near for end in boundaries(explicit) for near in (-1, 0, 1, 4, 8)}
    cuts = {*range(0, 1400, 7), *range(1400, len(whole), 197), *ends, len(whole) - 1}
    for cut in sorted(cut for cut in cuts if cut < len(whole)):
        cut_file.write_bytes(whole[:cut])
        try:
            read_header(cut_file)
        except (Truncated, Malformed, MissingIdentifier):
            continue
        headers += 1
        with pytest.raises(NoPixelData if cut > 900 else PixelError):
            read_radiograph(cut_file)
    assert headers < between


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda one: one.name)
def test_a_cut_inside_the_pixels_is_truncated(tmp_path: Path, syntax: str) -> None:
    path = write_film(tmp_path, syntax=syntax, pixels=SMALL)
    whole = path.read_bytes()
    with path.open("rb") as handle:
        pixels = scan(handle, ("Rows",)).pixels
        deflated = syntax == uid.DeflatedExplicitVRLittleEndian
        start = dataset_offset_of(path) if deflated else pixels.offset
    for cut in [*range(start, len(whole) - 1, 61), len(whole) - 1]:
        path.write_bytes(whole[:cut])
        with pytest.raises(Truncated):
            read_header(path)


def dataset_offset_of(path: Path) -> int:
    with path.open("rb") as handle:
        at_dataset(handle)
        return handle.tell()


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda one: one.name)
def test_flipped_bytes_give_a_header_or_a_refusal(tmp_path: Path, syntax: str) -> None:
    dice = random.Random(syntax)
    path = write_film(tmp_path, syntax=syntax, pixels=SMALL)
    whole = path.read_bytes()
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(128, min(len(whole), 1400))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            read_header(path)
        except Refusal:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize(
    "content",
    [b"", b"DICM", bytes(200), bytes(128) + b"DICM", b"\x89PNG" + bytes(300), bytes(128) + b"DICM" + b"\xff" * 64],
    ids=["empty", "no preamble", "zeros", "no meta", "PNG", "ones"],
)
def test_what_is_no_part_10_file_is_malformed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(Malformed):
        read_header(path)


def test_a_sequence_in_the_meta_header_is_a_refusal(tmp_path: Path) -> None:
    opening = struct.pack("<HH2sxxL", 2, 0x0099, b"SQ", 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    path = tmp_path / "deep.dcm"
    for depth in (1, 20, DEEP):
        path.write_bytes(bytes(128) + b"DICM" + opening * depth)
        with pytest.raises((Malformed, TooDeep)):
            read_header(path)


def sequence(tag: tuple[int, int], depth: int, *, ended: bool = True) -> bytes:
    opening = struct.pack("<HH2sxxL", *tag, b"SQ", 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    closing = struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    return opening * depth + closing * depth * ended


@pytest.mark.parametrize(
    "tag", [(0x0008, 0x1140), (0x0028, 0x3010), (0x0054, 0x0220)], ids=["references", "VOI LUT", "view code"]
)
@pytest.mark.parametrize("ended", [True, False])
def test_endless_nesting_is_too_deep(tmp_path: Path, tag: tuple[int, int], ended: bool) -> None:
    path = film_file(tmp_path)
    content = path.read_bytes()
    start = content.index(struct.pack("<HH2s", 0x0028, 0x0002, b"US"))
    path.write_bytes(content[:start] + sequence(tag, DEEP, ended=ended) + content[start:])
    with pytest.raises(TooDeep):
        read_header(path)
    with pytest.raises(PixelError):
        read_radiograph(path)


@pytest.mark.parametrize(
    ("tail", "refusal"),
    [
        (sequence((0x0008, 0x1140), 1), None),
        (sequence((0x0008, 0x1140), 3), None),
        (sequence((0x0008, 0x1140), 1, ended=False), Truncated),
        (sequence((0x0008, 0x1140), 2)[:-8], Truncated),
        (sequence((0x0008, 0x1140), 2)[:-16], Truncated),
        (struct.pack("<HH2sxxL", 0x0009, 0x1001, b"OB", 0xFFFFFFFF) + b"private without an end", Truncated),
        (struct.pack("<HH2sxxL", 0x0009, 0x1001, b"UN", 0xFFFFFFFF) + b"private without an end", Truncated),
        (struct.pack("<HH2sH", 0x0009, 0x1001, b"LO", 40) + b"shorter than 40", Truncated),
        (struct.pack("<HH2sxxL", 0x0009, 0x1001, b"OB", 0xFFFFFFF0), Truncated),
        (struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + bytes(40), Truncated),
        (b"\x08\x00\x11", Truncated),
    ],
)
def test_the_last_element_must_end_with_the_file(tmp_path: Path, tail: bytes, refusal: type[Refusal] | None) -> None:
    path = film_file(tmp_path, PixelData=None)
    path.write_bytes(path.read_bytes() + tail)
    if refusal is None:
        assert read_header(path).rows == 48
    else:
        with pytest.raises(refusal):
            read_header(path)


def deflated(folder: Path, body: bytes) -> Path:
    path = folder / "deflated.dcm"
    meta = encode_meta(uid.DigitalXRayImageStorageForPresentation, "1.2.3", uid.DeflatedExplicitVRLittleEndian)
    path.write_bytes(meta + body)
    return path


def squeeze(plain: bytes) -> bytes:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return squeezer.compress(plain) + squeezer.flush()


def element(tag: int, value: bytes) -> bytes:
    """Explicit VR little endian, OB."""
    return struct.pack("<HH2sxxL", tag >> 16, tag & 0xFFFF, b"OB", len(value)) + value


def test_a_deflated_bomb_is_too_large_and_never_held(tmp_path: Path) -> None:
    path = deflated(tmp_path, squeeze(element(0x7FE00010, bytes(96 << 20))))
    assert path.stat().st_size < 1 << 20
    with path.open("rb") as handle:
        assert part10.scan(handle, ()).pixels is not None  # the caller sets the limit
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            read_header(path, most_inflated=64 << 20)
        with path.open("rb") as handle:
            part10.scan(handle, (), most_inflated=128 << 20)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2 << 20


def test_a_deflated_film_is_decoded_without_what_follows_its_frame(tmp_path: Path) -> None:
    """A worker holds the frame, and not the 96 MiB that the value has behind it."""
    path = write_film(tmp_path, syntax=uid.DeflatedExplicitVRLittleEndian, pixels=SMALL)
    with path.open("rb") as handle:
        at_dataset(handle)
        plain = zlib.decompress(handle.read(), -zlib.MAX_WBITS)
    start = plain.index(struct.pack("<HH2sxx", 0x7FE0, 0x0010, b"OW"))
    bomb = deflated(tmp_path, squeeze(plain[:start] + element(0x7FE00010, SMALL.tobytes() + bytes(96 << 20))))
    tracemalloc.start()
    try:
        pixels = read_radiograph(bomb).pixels
        assert compare(bomb, path, lambda _one, _other: False).same
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (pixels == read_radiograph(path).pixels).all()
    assert most < 4 << 20


@pytest.mark.parametrize(
    "head",
    [
        element(0x00091001, bytes(inflated.HEAD)),
        struct.pack("<HH2sxxL", 0x0009, 0x1001, b"SQ", 0xFFFFFFFF)
        + struct.pack("<HHL", 0xFFFE, 0xE000, 0) * (inflated.HEAD // 8),
        element(0x0020000D, bytes(inflated.HEAD + 2)),
    ],
    ids=["private", "items", "an UID"],
)
def test_a_deflated_header_is_bounded_too(tmp_path: Path, head: bytes) -> None:
    with pytest.raises((TooLarge, Malformed, Truncated)):
        read_header(deflated(tmp_path, squeeze(head + element(0x7FE00010, bytes(100)))))


@pytest.mark.parametrize(
    "item", [struct.pack("<HHL", 0xFFFE, 0xE000, 0), element(0x00091002, b"")], ids=["items", "elements"]
)
def test_the_number_of_elements_is_bounded(tmp_path: Path, item: bytes) -> None:
    """Else a header of 8 MB kept a core busy for 16 s."""
    path = film_file(tmp_path)
    content = path.read_bytes()
    place = content.index(struct.pack("<HH2s", 0x0010, 0x0010, b"PN"))
    opening = struct.pack("<HH2sxxL", 0x0009, 0x1001, b"SQ", 0xFFFFFFFF) if item[2:4] == b"\x00\xe0" else b""
    for number, refusal in ((1000, None), (200_000, TooLarge)):
        closing = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0) if opening else b""
        path.write_bytes(content[:place] + opening + item * number + closing + content[place:])
        if refusal:
            with pytest.raises(refusal):
                read_header(path)
        else:
            assert read_header(path).rows == 48


def test_a_wanted_value_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part10, "VALUE_LIMIT", 4)
    with pytest.raises(TooLarge):
        read_header(film_file(tmp_path))


@pytest.mark.parametrize("place", ["group 0002", "a sequence"])
def test_no_value_is_read_that_could_fill_the_memory(tmp_path: Path, place: str) -> None:
    path, size = film_file(tmp_path), 40 << 20
    content, start = path.read_bytes(), dataset_offset_of(path)
    if place == "group 0002":
        long = element(0x00020102, bytes(size))
    else:
        start = content.index(struct.pack("<HH2s", 0x0010, 0x0010, b"PN"))
        long = struct.pack("<HH2sxxL", 0x0009, 0x1001, b"SQ", 0xFFFFFFFF)
        long += struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) + element(0x00091002, bytes(size))
        long += struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    path.write_bytes(content[:start] + long + content[start:])
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            read_header(path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2 << 20


STRAY_SYNTAXES = [uid.JPEG2000, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian, uid.ImplicitVRLittleEndian]


@pytest.mark.parametrize("stray", STRAY_SYNTAXES, ids=lambda one: one.name)
@pytest.mark.parametrize("whole", [False, True], ids=["elements", "with a preamble"])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda one: one.name)
def test_a_second_group_0002_says_nothing(tmp_path: Path, syntax: str, whole: bool, stray: str) -> None:
    """At the start of the data set, and before its deflated form too: the first meta information is the file's."""
    path = write_film(tmp_path, syntax=syntax, pixels=SMALL)
    plain, pixels = read_header(path), read_radiograph(path).pixels.copy()
    content = path.read_bytes()
    alone = tmp_path / "alone.dcm"
    alone.write_bytes(content)
    start = dataset_offset_of(path)
    second = encode_meta(uid.CTImageStorage, "1.2.3", stray)
    path.write_bytes(content[:start] + (second if whole else second[132:]) + content[start:])
    assert read_header(path) == plain
    assert (read_radiograph(path).pixels == pixels).all()
    assert compare(path, alone, lambda _one, _other: False).same


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda one: one.name)
@pytest.mark.parametrize("times", [1, 3, 16, 40])
def test_several_file_headers_with_whatever_preamble_say_nothing(tmp_path: Path, syntax: str, times: int) -> None:
    """PS3.10 7.1 leaves a preamble's 128 bytes free: those of a TIFF file, for one."""
    path = write_film(tmp_path, syntax=syntax, pixels=SMALL)
    plain, pixels = read_header(path), read_radiograph(path).pixels.copy()
    content, start = path.read_bytes(), dataset_offset_of(path)
    meta = encode_meta(uid.CTImageStorage, "1.2.3", uid.JPEG2000)
    tiff, odd = b"II*\0" + bytes(124), b"\xa5" * 128
    several = [tiff + meta[128:], meta, odd + meta[128:], meta[132:]]
    path.write_bytes(content[:start] + b"".join((several * 10)[:times]) + content[start:])
    if times == 40:
        with pytest.raises(Refusal):
            read_header(path)
        return
    assert read_header(path) == plain
    assert (read_radiograph(path).pixels == pixels).all()


def test_a_text_that_has_the_prefix_at_its_place_is_no_file_header(tmp_path: Path) -> None:
    path = write_film(tmp_path, syntax=uid.ExplicitVRLittleEndian, pixels=SMALL)
    plain, content, start = read_header(path), path.read_bytes(), dataset_offset_of(path)
    text = element(0x00040001, b"x" * 116 + b"DICM" + b"x" * 80)
    assert text[128:132] == b"DICM"
    path.write_bytes(content[:start] + text + content[start:])
    assert read_header(path) == plain


def test_meta_information_out_of_order_is_read(tmp_path: Path) -> None:
    path = film_file(tmp_path)
    content = path.read_bytes()
    start = dataset_offset_of(path)
    syntax = struct.pack("<HH2sH", 2, 0x10, b"UI", 20) + b"1.2.840.10008.1.2.1\0"
    assert content.count(syntax) == 1
    path.write_bytes(content[:start].replace(syntax, b"") + syntax + content[start:])
    assert read_header(path).rows == 48
    path.write_bytes(content[:start].replace(syntax, b"") + content[start:])
    with pytest.raises(Malformed):
        read_header(path)


@pytest.mark.parametrize(
    "syntax", [uid.ExplicitVRBigEndian, uid.ImplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian]
)
def test_a_stray_element_of_group_0002_coded_as_the_data_set(tmp_path: Path, syntax: str) -> None:
    path = write_film(tmp_path, syntax=syntax, pixels=SMALL)
    plain, content = read_header(path), path.read_bytes()
    start = dataset_offset_of(path)
    value = b"1.2.840.10008.1.2.4.90"
    if syntax == uid.ExplicitVRBigEndian:
        path.write_bytes(content[:start] + struct.pack(">HH2sH", 2, 0x10, b"UI", 22) + value + content[start:])
    elif syntax == uid.ImplicitVRLittleEndian:
        path.write_bytes(content[:start] + struct.pack("<HHL", 2, 0x10, 22) + value + content[start:])
    else:
        inside = struct.pack("<HH2sH", 2, 0x10, b"UI", 22) + value + zlib.decompress(content[start:], -zlib.MAX_WBITS)
        path.write_bytes(content[:start] + squeeze(inside))
    assert read_header(path) == plain


@pytest.mark.parametrize(
    ("body", "refusal"),
    [(b"", Truncated), (b"\xff" * 50, Malformed), (squeeze(bytes(5000))[:-1], Truncated), (squeeze(b""), Truncated)],
    ids=["empty", "not deflated", "cut", "nothing inside"],
)
def test_a_broken_deflated_stream_is_refused(tmp_path: Path, body: bytes, refusal: type[Refusal]) -> None:
    with pytest.raises(refusal):
        read_header(deflated(tmp_path, body))


def test_too_much_before_the_pixels_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part10, "HEADER_LIMIT", 200)
    with pytest.raises(TooLarge):
        read_header(film_file(tmp_path))


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda one: one.name)
def test_the_header_is_the_same_in_every_syntax(tmp_path: Path, syntax: str) -> None:
    header = read_header(write_film(tmp_path, syntax=syntax, pixels=SMALL, BurnedInAnnotation="no"))
    assert header.transfer_syntax_uid == syntax
    assert (header.rows, header.columns, header.age_years) == (48, 40, 45.0)
    assert (header.modality, header.body_part, header.view_position, header.burned_in) == ("DX", "CHEST", "PA", "NO")
    assert header.sop_class_uid == uid.DigitalXRayImageStorageForPresentation
    assert is_valid_uid(header.sop_instance_uid)
    assert is_valid_uid(header.study_instance_uid)
    assert is_valid_uid(header.series_instance_uid)


@pytest.mark.parametrize(
    ("tag", "vr", "value", "field", "read"),
    [
        (0x00101010, b"AS", b"62", "age_years", 62.0),
        (0x00101010, b"AS", b"062Y", "age_years", 62.0),
        (0x00101010, b"AS", b"62 y", "age_years", 62.0),
        (0x00101010, b"AS", b"006M", "age_years", 0.5),
        (0x00101010, b"AS", b"010W", "age_years", 0.19),
        (0x00101010, b"AS", b"003D", "age_years", 0.01),
        (0x00101010, b"AS", b"adult ", "age_years", None),
        (0x00101010, b"AS", b"", "age_years", None),
        (0x00101010, b"AS", b"\xff\xfe", "age_years", None),
        (0x00280010, b"US", b"abc", "rows", 0),
        (0x00280010, b"LO", b"many", "rows", 0),
        (0x00280010, b"LO", b"nan ", "rows", 0),
        (0x00280010, b"LO", b"1e999 ", "rows", 0),
        (0x00280010, b"US", b"", "rows", 0),
        (0x00280010, b"US", b"\x30\0\x31\0", "rows", 48),
        (0x00185101, b"CS", b"pa ", "view_position", "PA"),
        (0x00185101, b"CS", b"PA\\LL ", "view_position", "PA\\LL"),
        (0x00185101, b"LO", b"PA\xa0ERECT\0", "view_position", "PA ERECT"),
        (0x00200020, b"CS", b"l\\ F ", "patient_orientation", "L\\F"),
        (0x00200020, b"CS", b"", "patient_orientation", ""),
        (0x00200020, b"CS", b"SMITH\\JOHN", "patient_orientation", ""),
        (0x00280300, b"CS", b"yes\0", "quality_control", "YES"),
        (0x00080070, b"LO", b" Acme Imaging\0", "manufacturer", "Acme Imaging"),
        (0x00080070, b"LO", b"", "manufacturer", ""),
        (0x00081090, b"LO", b"Plate\\5 ", "model_name", "Plate"),
        (0x00081010, b"SH", b"x" * 200, "station", "x" * 64),
        (0x00080008, b"CS", b"DERIVED \\SECONDARY\0", "derived", "secondary"),
        (0x00080008, b"CS", b"ORIGINAL\\PRIMARY\\\\dual_energy_bone ", "derived", "dual_energy"),
        (0x00180015, b"CS", b"\\", "body_part", ""),
        (0x00180015, b"LO", b"x" * 200, "body_part", "X" * 64),
        (0x00080060, b"CS", b"\x1b\x07DX\0", "modality", "DX"),
    ],
)
def test_odd_values_are_read_or_left_out(
    tmp_path: Path, tag: int, vr: bytes, value: bytes, field: str, read: object
) -> None:
    header = read_header(with_raw(film_file(tmp_path), tag, vr, value))
    assert getattr(header, field) == read


RECEIVED = date(2026, 6, 1)


@pytest.mark.parametrize(
    ("attributes", "age"),
    [
        ({"StudyDate": "20260110"}, 11.02),
        ({"SeriesDate": "20260110"}, 11.02),
        ({"AcquisitionDate": "20260110"}, 11.02),
        ({"ContentDate": "20260110"}, 11.02),
        ({"AcquisitionDateTime": "20260110101112.5+0100"}, 11.02),
        ({"PerformedProcedureStepStartDate": "20260110"}, 11.02),
        ({}, 11.41),  # on the day of receipt, no date of the film being there
        ({"StudyDate": "20260110", "PatientAge": "045Y"}, 11.02),
        ({"StudyDate": "20260110", "PatientAge": "007YR"}, 7.0),
        ({"StudyDate": "20260110", "PatientAge": "999Y"}, 11.02),
        ({"StudyDate": "20040826", "SeriesDate": "20260110"}, 11.02),
        ({"StudyDate": "20260110", "ContentDate": "20160110"}, 1.02),
        ({"StudyDate": "20260110", "AcquisitionDate": "20160101"}, 11.02),  # a clock that was reset
        ({"StudyDate": "20160101", "InstanceCreationDate": "20260110"}, 1.0),  # a copy
    ],
)
def test_age_from_whichever_date_there_is(tmp_path: Path, attributes: dict[str, str], age: float) -> None:
    path = film_file(tmp_path, **({"PatientAge": None, "StudyDate": None, "PatientBirthDate": "20150101"} | attributes))
    assert read_header(path, RECEIVED).age_years == age


def code(value: str, scheme: str = "SRT", meaning: str = "", **attributes: Any) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    item.update(attributes)
    return item


def test_view_by_code_with_its_modifier(tmp_path: Path) -> None:
    read = read_header(film_file(tmp_path, ViewPosition=None, ViewCodeSequence=[code("R-10214")]))
    assert (read.view_position, read.view_code, read.views) == ("", "PA", ("PA",))
    lordotic = code("R-10206", ViewModifierCodeSequence=[code("R-10244")])
    assert read_header(film_file(tmp_path, ViewCodeSequence=[lordotic])).views == ("PA", "LORDOTIC")
    lying = code("102538003", "SCT", PatientOrientationModifierCodeSequence=[code("102536004", "SCT")])
    film = film_file(tmp_path, ViewCodeSequence=[code("R-10206")], PatientOrientationCodeSequence=[lying])
    assert read_header(film).views == ("PA", "DECUBITUS")
    both = film_file(tmp_path, ViewCodeSequence=[code("R-10206"), code("399173006", "SCT")])
    assert (read_header(both).view_code, read_header(both).views) == ("AP\\LATERAL", ("PA", "AP", "LATERAL"))


ITEM = b"\xfe\xff\x00\xe0"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        ITEM + b"\4\0\0\0abcd",
        ITEM + b"\xff\xff\xff\x0f",
        b"PA",
        ITEM + b"\x10\0\0\0\x08\0\0\1SH\xff\x0f" + b"x" * 8,
    ],
)
@pytest.mark.parametrize("tag", [(0x0054, 0x0220), (0x0054, 0x0410), (0x0008, 0x9215)])
def test_a_code_sequence_that_is_none_says_nothing(tmp_path: Path, tag: tuple[int, int], value: bytes) -> None:
    path = film_file(tmp_path)
    content = path.read_bytes()
    start = content.find(struct.pack("<HH2s", 0x0028, 0x0002, b"US"))
    element = struct.pack("<HH2sxxL", *tag, b"SQ", len(value)) + value
    path.write_bytes(content[:start] + element + content[start:])
    header = read_header(path)
    assert (header.views, header.derived) == (("PA",), "")
    assert compare(path, path, lambda _one, _other: False).same


def test_only_what_the_database_holds_is_cut(tmp_path: Path) -> None:
    path = film_file(tmp_path)
    for tag in (0x00080050, 0x00080060, 0x00180015, 0x00185101):
        with_raw(path, tag, b"ST", b"X" * 200)
    header = read_header(path)
    assert {header.accession_number, header.modality, header.body_part, header.view_position} == {"X" * 64}


def test_codes_that_say_how_it_was_made(tmp_path: Path) -> None:
    assert read_header(film_file(tmp_path, DerivationCodeSequence=[code("113040", "DCM")])).derived == ""
    assert read_header(film_file(tmp_path, DerivationCodeSequence=[code("113062", "DCM")])).derived == "dual_energy"
    assert read_header(film_file(tmp_path, SeriesDescription="Thorax, bone suppressed")).derived == "bone_suppressed"
    long = "Processed for display. " * 40 + "Bone suppression applied."
    assert read_header(film_file(tmp_path, DerivationDescription=long)).derived == "bone_suppressed"
    secondary: dict[str, Any] = {"ImageType": ["DERIVED", "SECONDARY"], "LossyImageCompression": "01"}
    text = {"DerivationDescription": "Lossy JPEG compression"}
    assert read_header(film_file(tmp_path, **secondary, **text)).derived == ""
    text = {"SeriesDescription": "Lossy JPEG compression"}
    assert read_header(film_file(tmp_path, **secondary, **text)).derived == "secondary"


def test_a_digitised_film_is_the_film(tmp_path: Path) -> None:
    capture: dict[str, Any] = {"SOPClassUID": uid.SecondaryCaptureImageStorage, "ImageType": ["DERIVED", "SECONDARY"]}
    assert read_header(film_file(tmp_path, **capture, ConversionType="DF")).derived == ""
    assert read_header(film_file(tmp_path, **capture, ConversionType="WSD")).derived == "secondary"


@pytest.mark.parametrize(
    "change",
    [
        {"SOPInstanceUID": None},
        {"SOPClassUID": None},
        {"SOPInstanceUID": ""},
        {"SOPInstanceUID": "1.2." + "3" * 66},
        {"SOPClassUID": ""},
    ],
)
def test_without_its_uids_a_film_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "film.dcm"
    film = Dataset()
    film.update(chest_film("header", pixels=SMALL))
    for keyword, value in change.items():
        setattr(film, keyword, value) if value is not None else delattr(film, keyword)
    meta = encode_meta(uid.DigitalXRayImageStorageForPresentation, "1.2.3", uid.ExplicitVRLittleEndian)
    body = io.BytesIO()
    film.save_as(body, implicit_vr=False, little_endian=True, enforce_file_format=False)
    path.write_bytes(meta + body.getvalue())
    with pytest.raises(MissingIdentifier):
        read_header(path)


def test_the_meta_header_is_a_function_of_its_arguments() -> None:
    one, other = (encode_meta("1.2.3", "1.2.4", uid.RLELossless) for _ in range(2))
    assert one == other
    assert encode_meta("1.2.3", "1.2.5", uid.RLELossless) != one
    assert one[128:132] == b"DICM"
