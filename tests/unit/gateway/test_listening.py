"""What is said while a film is decoded: the decoder's word counts, a stranger's does not."""

import gc
import sys
import warnings
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from dicom_gateway.errors import CorruptPixels
from dicom_gateway.listening import NOT_OF_A_FILM, refusing_complaints
from tests.phantoms import chest_pixels


class Leaves:
    """Raises when it is collected."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        raise ValueError


@pytest.mark.parametrize("kind", NOT_OF_A_FILM)
def test_a_warning_about_the_code_refuses_no_film(kind: type[Warning]) -> None:
    with refusing_complaints():
        warnings.warn("from the next version on", kind, stacklevel=1)


@pytest.mark.parametrize("kind", [UserWarning, RuntimeWarning])
def test_a_warning_about_the_data_does(kind: type[Warning]) -> None:
    with pytest.raises(CorruptPixels), refusing_complaints():
        warnings.warn("premature end", kind, stacklevel=1)


def test_what_other_code_leaves_behind_refuses_no_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: told.append(unraisable.exc_type))
    left: list[Any] = [(tmp_path / "open").open("w"), Leaves()]
    with refusing_complaints():
        left.clear()
        gc.collect()
    assert told == [ValueError]  # and not lost


def test_what_a_decoder_swallows_does() -> None:
    encoded = bytearray(imagecodecs.htj2k_encode(chest_pixels(128, 128), reversible=True))
    encoded[len(encoded) // 2 : len(encoded) // 2 + 40] = b"\xff" * 40
    with pytest.raises(CorruptPixels), refusing_complaints():
        assert np.asarray(imagecodecs.htj2k_decode(bytes(encoded))).shape == (128, 128)
