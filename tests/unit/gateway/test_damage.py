"""Films with damaged codestreams: refused, or shown as they were. Never scored as another picture.

FUZZ_CASES sets how many films are damaged in each transfer syntax; `pytest -s` prints the counts.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread, uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from dicom_gateway.contexts import TRANSFER_SYNTAXES, TransferSyntax
from dicom_gateway.encode import in_syntax, save
from dicom_gateway.errors import CodestreamMismatch, CorruptPixels, PixelError
from dicom_gateway.pixels import read_radiograph
from model.preprocess import PreprocessSpec, to_input
from tests.phantoms import chest_film
from tests.unit.gateway.films import codestream

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about what we do to it

CASES = int(os.environ.get("FUZZ_CASES", "40"))
SEED = 5
SPEC = PreprocessSpec()
COMPRESSED = [row for row in TRANSFER_SYNTAXES if row.codec != "raw"]
REDUCED_FROM = 100
"""Shorter side that is asked for: the film is decoded at half or a quarter, as large films are."""


@dataclass
class Counts:
    refused: int = 0
    harmless: int = 0
    wrong: int = 0


def sample() -> NDArray[np.uint16]:
    """A real chest, 460 pixels wide, 12 bits, high is white."""
    pixels = dcmread(get_testdata_file("RG1_UNCR.dcm")).pixel_array.astype(np.float32)
    shrunk = cv2.resize(pixels, (460, 488), interpolation=cv2.INTER_AREA)
    return np.asarray((1 - np.clip(shrunk / 30000, 0, 1)) * 4095).round().astype(np.uint16)


def damaged(encoded: bytes, turn: int, dice: np.random.Generator) -> bytes:
    """1 to 8 bytes changed in two of five; else 512 bytes or 4 KB zeroed, cut out, or there twice."""
    content, first = bytearray(encoded), min(len(encoded) // 20 + 60, len(encoded) // 4)
    at = int(dice.integers(first, len(content) - 20))
    size = min(int(dice.choice([512, 4096])), len(content) - 20 - at)
    match turn % 5:
        case 0 | 1:
            for place in dice.integers(first, len(content) - 10, int(dice.integers(1, 9))):
                content[place] = int(dice.integers(256))
        case 2:
            content[at : at + size] = bytes(size)
        case 3:
            del content[at : at + size]
        case 4:
            content[at:at] = content[at : at + size]
    return bytes(content)


def network_input(path: Path, least_side: int | None) -> NDArray[np.int16]:
    film = read_radiograph(path, least_side=least_side)
    return to_input(film.pixels, low=film.low, high=film.high, inverted=film.inverted, spec=SPEC).astype(np.int16)


def is_another_picture(shown: NDArray[np.int16], right: NDArray[np.int16]) -> bool:
    """On average over one grey level of 255 from the film that was sent, or over 16 levels in one of 200 pixels."""
    difference = np.abs(shown - right)
    return bool(difference.mean() > 1 or (difference > 16).mean() > 0.005)


def damage_all(film: Dataset, folder: Path, least_side: int | None) -> Counts:
    counts, dice = Counts(), np.random.default_rng(SEED)
    encoded = codestream(film)
    right = network_input(save(film, folder / "film.dcm"), least_side)
    for turn in range(CASES):
        film.PixelData = encapsulate([damaged(encoded, turn, dice)])
        path = save(film, folder / "damaged.dcm")
        try:
            shown = network_input(path, least_side)
        except (CorruptPixels, CodestreamMismatch):
            counts.refused += 1
        else:
            counts.wrong += is_another_picture(shown, right)
            counts.harmless += not is_another_picture(shown, right)
    return counts


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda row: row.name)
def test_a_damaged_film_is_never_scored_as_another_picture(tmp_path: Path, syntax: TransferSyntax) -> None:
    film = in_syntax(chest_film("damage", pixels=sample()), syntax.uid)
    counts = damage_all(film, tmp_path, None)
    print(f"\n{syntax.name}: {CASES} damaged, {counts}")
    assert counts.wrong <= max(1, CASES / 100)
    assert counts.refused > CASES / 2


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEG2000], ids=lambda one: one.name)
def test_nor_at_a_lower_resolution(tmp_path: Path, syntax: str) -> None:
    counts = damage_all(in_syntax(chest_film("reduced", pixels=sample()), syntax), tmp_path, REDUCED_FROM)
    print(f"\n{syntax}, reduced: {CASES} damaged, {counts}")
    assert counts.wrong <= CASES / 100


def test_nothing_of_a_decoder_reaches_standard_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Rust's panics and OpenJPEG's lines are written past Python, and would flood the log."""
    for syntax in (uid.RLELossless, uid.JPEG2000Lossless, uid.HTJ2KLossless):
        film = in_syntax(chest_film("noise", pixels=sample()[:128, :128]), syntax)
        encoded = codestream(film)
        capfd.readouterr()
        for cut in (len(encoded) // 3, len(encoded) // 2):
            film.PixelData = encapsulate([encoded[:cut] + encoded[cut + 100 :]])
            with pytest.raises(PixelError):
                read_radiograph(save(film, tmp_path / "cut.dcm"))
        assert capfd.readouterr().err == ""


def test_the_hook_for_swallowed_errors_is_put_back(tmp_path: Path) -> None:
    before = sys.unraisablehook
    film = in_syntax(chest_film("hook", pixels=sample()[:128, :128]), uid.HTJ2KLossless)
    encoded = codestream(film)
    film.PixelData = encapsulate([encoded[: len(encoded) // 2] + encoded[len(encoded) // 2 + 40 :]])
    with pytest.raises(CorruptPixels):
        read_radiograph(save(film, tmp_path / "hook.dcm"))
    assert sys.unraisablehook is before


def test_a_lossy_high_throughput_film_is_cut_off_at_white_and_not_wrapped_to_black(tmp_path: Path) -> None:
    """OpenJPH wraps a value that lies beyond the stream's precision; OpenJPEG does not."""
    pixels = np.random.default_rng(1).integers(0, 1 << 16, (200, 301)).astype(np.uint16)
    encoded = bytes(imagecodecs.htj2k_encode(pixels, reversible=False, level=0.01))
    film = in_syntax(chest_film("white", pixels=pixels, BitsStored=16, HighBit=15), uid.HTJ2K)
    film.PixelData = encapsulate([encoded])
    read_back = read_radiograph(save(film, tmp_path / "white.dcm")).pixels
    assert np.abs(read_back.astype(int) - pixels).max() < 2000
