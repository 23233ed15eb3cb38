"""The entropy-coded data of JPEGs: good ones of many shapes pass, and what libjpeg shrugs at does not."""

import io
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dicom_gateway.codestream import without_padding
from dicom_gateway.errors import CorruptPixels
from dicom_gateway.huffman import check_entropy
from dicom_gateway.seams import check_seams
from tests.phantoms import chest_pixels


def eight_bits(rows: int = 200, columns: int = 147) -> NDArray[np.uint8]:
    return chest_pixels(rows, columns, bits=8).astype(np.uint8)


def jpeg(pixels: NDArray[Any], **options: Any) -> bytes:
    """By Pillow, which can set restart markers; 8 bits."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", **options)
    return out.getvalue()


GOOD = {
    "plain": {},
    "coarse": {"quality": 10},
    "fine": {"quality": 100},
    "own tables": {"optimize": True},
    "restart at each block": {"restart_marker_blocks": 1},
    "restart at 7 blocks": {"restart_marker_blocks": 7},
    "restart at each row": {"restart_marker_rows": 1},
    "progressive": {"progressive": True},
}


@pytest.mark.parametrize("options", GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (9, 17), (64, 64), (500, 447)])
def test_whole_data_pass(options: dict[str, Any], shape: tuple[int, int]) -> None:
    encoded = jpeg(eight_bits(*shape), **options)
    check_entropy(encoded)
    check_seams(np.asarray(imagecodecs.jpeg8_decode(encoded)))


@pytest.mark.parametrize("kind", ["flat", "noise", "shutter"])
@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lossless_data_pass(kind: str, predictor: int, bits: int) -> None:
    pixels = chest_pixels(130, 201, bits=bits)
    if kind == "flat":
        pixels[:] = 7
    elif kind == "noise":
        pixels = np.random.default_rng(2).integers(0, 1 << bits, pixels.shape).astype(np.uint16)
    else:
        pixels[:32], pixels[:, :40] = 0, (1 << bits) - 1
    pixels = pixels.astype(np.uint8) if bits == 8 else pixels
    check_entropy(bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, bitspersample=bits, predictor=predictor)))


@pytest.mark.parametrize("border", [0, 255])
@pytest.mark.parametrize("side", [24, 32, 40])
def test_a_shutter_along_the_blocks_is_no_seam(border: int, side: int) -> None:
    pixels = eight_bits(512, 448)
    pixels[:side] = pixels[-side:] = border
    pixels[:, :side] = pixels[:, -2 * side :] = border
    check_seams(np.asarray(imagecodecs.jpeg8_decode(jpeg(pixels, quality=90))))


def with_data(encoded: bytes, change: Any) -> bytes:
    start = encoded.index(b"\xff\xda")
    start += 2 + int.from_bytes(encoded[start + 2 : start + 4], "big")
    return encoded[:start] + change(encoded[start:-2]) + encoded[-2:]


def test_padding_before_and_behind_the_end_marker_passes() -> None:
    encoded = jpeg(eight_bits())
    check_entropy(with_data(encoded, lambda data: data + b"\xff\xff"))  # fill bytes (T.81 B.1.1.2)
    check_entropy(with_data(encoded, lambda data: data + b"\0"))
    for padding in (b"", b"\0", bytes(500), b"\xff" * 3, b" " * 40):
        assert without_padding(encoded + padding) == encoded
    with pytest.raises(CorruptPixels):
        without_padding(encoded + b"another picture follows here")


LACKING = {
    "bytes at the end": lambda data: data[:-3],
    "bytes in the middle": lambda data: data[: len(data) // 2] + data[len(data) // 2 + 20 :],
    "nothing, but there is more": lambda data: data + b"\x12\x34",
    "zeros for bytes": lambda data: data[: len(data) // 2] + bytes(60) + data[len(data) // 2 + 60 :],
    "a marker too many": lambda data: data[: len(data) // 2] + b"\xff\xd0" + data[len(data) // 2 :],
    "a part twice": lambda data: data[:600] + data[300:],
}


@pytest.mark.parametrize("change", LACKING.values(), ids=LACKING)
def test_data_that_are_not_the_picture_are_refused(change: Any) -> None:
    with pytest.raises(CorruptPixels):
        check_entropy(with_data(jpeg(eight_bits()), change))


def test_restart_markers_out_of_order_or_missing_are_refused() -> None:
    encoded = jpeg(eight_bits(), restart_marker_rows=2)
    assert b"\xff\xd1" in encoded
    for change in (
        lambda data: data.replace(b"\xff\xd1", b"\xff\xd2", 1),
        lambda data: data.replace(b"\xff\xd1", b"", 1),
        lambda data: data[data.index(b"\xff\xd0") :],
    ):
        with pytest.raises(CorruptPixels):
            check_entropy(with_data(encoded, change))


def test_a_picture_whose_rest_is_brighter_or_moved_has_a_seam() -> None:
    """What a damaged DC step, or a block lost and another made up, leave behind."""
    good = np.asarray(imagecodecs.jpeg8_decode(jpeg(eight_bits(512, 448), quality=90)))
    blocks = good.reshape(64, 8, 56, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    brighter = blocks.copy()
    brighter[20 * 56 + 30 :] = np.clip(brighter[20 * 56 + 30 :].astype(int) + 30, 0, 255)
    moved = np.concatenate([blocks[: 20 * 56 + 30], blocks[20 * 56 + 29 : -1]])
    for changed in (brighter, moved):
        with pytest.raises(CorruptPixels):
            check_seams(changed.reshape(64, 56, 8, 8).transpose(0, 2, 1, 3).reshape(512, 448))
