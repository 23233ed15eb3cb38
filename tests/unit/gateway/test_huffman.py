"""The entropy-coded data of JPEGs: good ones of many shapes pass, and what libjpeg shrugs at does not."""

import io
import tracemalloc
from typing import Any

import cv2
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
from tests.unit.gateway.test_damage import sample


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
@pytest.mark.parametrize("predictor", [1, 4, 7, *(pytest.param(one, marks=pytest.mark.slow) for one in (2, 3, 5, 6))])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lossless_data_pass(kind: str, predictor: int, bits: int) -> None:
    pixels = chest_pixels(66, 101, bits=bits)
    if kind == "flat":
        pixels[:] = 7
    elif kind == "noise":
        pixels = np.random.default_rng(2).integers(0, 1 << bits, pixels.shape).astype(np.uint16)
    else:
        pixels[:16], pixels[:, :20] = 0, (1 << bits) - 1
    pixels = pixels.astype(np.uint8) if bits == 8 else pixels
    check_entropy(bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, bitspersample=bits, predictor=predictor)))


@pytest.mark.parametrize("border", [0, 255])
@pytest.mark.parametrize("side", [24, 32, 40])
def test_a_shutter_along_the_blocks_is_no_seam(border: int, side: int) -> None:
    pixels = eight_bits(512, 448)
    pixels[:side] = pixels[-side:] = border
    pixels[:, :side] = pixels[:, -2 * side :] = border
    check_seams(np.asarray(imagecodecs.jpeg8_decode(jpeg(pixels, quality=90))))


def masked(degrees: float, fill: int) -> NDArray[np.uint8]:
    """A border from a mask that was made at an eighth of the size, and turned: stairs of 8 pixels."""
    pixels = real_chest()
    rows, columns = pixels.shape
    mask = np.zeros((-(-rows // 8), -(-columns // 8)), np.uint8)
    mask[4:-4, 4:-4] = 1
    turn = cv2.getRotationMatrix2D((mask.shape[1] / 2, mask.shape[0] / 2), degrees, 1)
    turned = cv2.warpAffine(mask, turn, mask.shape[::-1], flags=cv2.INTER_NEAREST)
    pixels[np.kron(turned, np.ones((8, 8), np.uint8))[:rows, :columns] == 0] = fill
    return pixels


def real_chest() -> NDArray[np.uint8]:
    return (sample() >> 4).astype(np.uint8)


def passes(pixels: NDArray[np.uint8]) -> None:
    for quality in (60, 90):
        check_seams(np.asarray(imagecodecs.jpeg8_decode(jpeg(pixels, quality=quality))))


@pytest.mark.parametrize("fill", [0, 255])
@pytest.mark.parametrize("degrees", [-3, -1.1, -0.9, -0.5, -0.2, 0.2, 0.5, 0.9, 1.1, 3])
def test_the_stairs_of_a_coarse_mask_are_no_seam(degrees: float, fill: int) -> None:
    passes(masked(degrees, fill))


@pytest.mark.parametrize("place", ["head", "middle", "foot"])
@pytest.mark.parametrize("free", [0, 40])
@pytest.mark.parametrize("higher", [-8, 8, 16])
@pytest.mark.parametrize("fill", [0, 255])
def test_text_blacked_out_block_by_block_is_no_seam(place: str, free: int, higher: int, fill: int) -> None:
    for middle in (96, 160, 240):
        pixels = real_chest()
        last = len(pixels) // 8 * 8
        match place:
            case "head":
                pixels[:40, free:middle] = pixels[: 40 + higher, middle:] = fill
            case "middle":
                pixels[80:120, free:middle] = pixels[88 : 120 + higher, middle:] = fill
            case "foot":
                pixels[last - 40 :, free:middle] = pixels[last - 40 - higher :, middle:] = fill
        passes(pixels)


def test_boxes_letters_and_collimation_along_the_blocks_are_no_seam() -> None:
    dice = np.random.default_rng(11)
    for _ in range(12):
        boxes, letters, collimated = real_chest(), real_chest(), real_chest()
        rows, columns = boxes.shape
        for _ in range(5):
            top, left = 8 * dice.integers(0, rows // 8 - 1), 8 * dice.integers(0, columns // 8 - 1)
            high, wide = 8 * dice.integers(1, 8, 2)
            boxes[top : top + high, left : left + 4 * wide] = dice.choice([0, 128, 255])
        small = np.zeros((rows // 8, columns // 8), np.uint8)
        cv2.putText(small, "L R 12", (int(dice.integers(0, 10)), int(dice.integers(12, rows // 8))), 0, 0.5, 1)
        letters[: rows // 8 * 8, : columns // 8 * 8][np.kron(small, np.ones((8, 8), np.uint8)) > 0] = 255
        size = (columns * dice.uniform(0.7, 0.95), rows * dice.uniform(0.7, 0.95))
        corners = cv2.boxPoints(((columns / 2, rows / 2), size, float(dice.uniform(-4, 4))))
        field = cv2.fillPoly(np.zeros((rows, columns), np.uint8), [corners.round().astype(np.int32)], 1)
        collimated[field == 0] = dice.choice([0, 255])
        for pixels in (boxes, letters, collimated):
            passes(pixels)


def test_a_field_that_is_dimmed_and_not_cut_off_is_no_seam() -> None:
    for degrees in (-0.9, -0.3, 0.3, 0.9):
        whole, mask = real_chest(), masked(degrees, 0) > 0
        passes(np.where(mask, whole, whole * 0.3).astype(np.uint8))


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
        for again in (encoded[-2:], b"\0" + encoded[-2:], bytes(500) + 2 * encoded[-2:]):
            assert without_padding(encoded + again + padding) == encoded
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


@pytest.mark.parametrize("border", [16, 40, 80])
def test_the_seam_is_found_in_a_film_with_a_black_border(border: int) -> None:
    """Where the border is black above and grey below there is a step as well, but it tells nothing."""
    pixels = real_chest()[:480, :456]
    pixels[:border] = pixels[-border:] = pixels[:, :border] = pixels[:, -border:] = 0
    good = np.asarray(imagecodecs.jpeg8_decode(jpeg(pixels, quality=90)))
    check_seams(good)
    blocks = good.reshape(60, 8, 57, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8).astype(int)
    blocks[30 * 57 + 30 :] += 25
    changed = np.clip(blocks, 0, 255).reshape(60, 57, 8, 8).transpose(0, 2, 1, 3).reshape(480, 456)
    with pytest.raises(CorruptPixels):
        check_seams(changed)


def test_restart_intervals_cost_little_memory() -> None:
    """Each interval has a walker, but one that is alone in its interval keeps no track: 2 KB for each block, else."""
    encoded = jpeg(eight_bits(1024, 1024), restart_marker_blocks=1)
    tracemalloc.start()
    try:
        check_entropy(encoded)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
