"""A film file to displayed grey values, 0 black to 1 white: ours, DCMTK's and pydicom's."""

import subprocess
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from dicom_gateway.contexts import SYNTAX_BY_UID
from dicom_gateway.pixels import Radiograph, read_radiograph
from tests.differential.films import Case
from tests.services import tool

Grey = NDArray[np.float64]
PROGRAMS = {"raw": "dcm2pnm", "rle": "dcm2pnm", "jpeg8": "dcmj2pnm", "jpegls": "dcml2pnm"}
PYDICOM = ("raw", "rle")
"""What pydicom decodes by itself; for the others it is given the uncompressed film."""


def ours(path: Path) -> tuple[Radiograph, Grey]:
    film = read_radiograph(path)
    shown = np.clip((film.pixels.astype(np.float64) - film.low) / (film.high - film.low), 0, 1)
    return film, 1 - shown if film.inverted else shown


def dcmtk(made: Case, path: Path, plain: Path) -> Grey:
    """16-bit output of dcm2pnm and its sisters, which do not show shutters nor scale here.

    JPEG 2000 is none of theirs, and some headers they cannot read: they get the plain film then.
    """
    program = PROGRAMS.get(SYNTAX_BY_UID[made.syntax].codec)
    as_sent = program is not None and not made.meant
    kind, number = _voi(made)
    choice = {"table": ["+Wl", str(number)], "window": ["+Wi", str(number)], "range": ["+Wm"]}[kind]
    source, output = path if as_sent else plain, path.with_suffix(".png")
    command = [_program(program if as_sent and program else "dcm2pnm"), "-q", "-S", "-O", *choice, "+on2"]
    done = subprocess.run([*command, str(source), str(output)], capture_output=True, text=True, timeout=60)
    picture = cv2.imread(str(output), cv2.IMREAD_UNCHANGED) if done.returncode == 0 else None
    output.unlink(missing_ok=True)
    if picture is None:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode} {done.stderr}")
    return np.asarray(picture, np.float64) / 65535


def _voi(made: Case) -> tuple[str, int]:
    return ("window", 1) if "WindowWidth" in made.meant else made.voi


@cache
def _program(name: str) -> str:
    return tool(name)


def pydicom(made: Case, path: Path, plain: Path) -> Grey:
    """apply_modality_lut and apply_voi_lut, and from the output range that pydicom documents to 0..1."""
    shifted = made.film.HighBit != made.bits - 1
    as_sent = SYNTAX_BY_UID[made.syntax].codec in PYDICOM and not made.meant and not shifted
    film = dcmread(path if as_sent else plain)
    low, high = float(made.low), float(made.high)
    values = np.asarray(apply_modality_lut(film.pixel_array, film), np.float64)
    if film.get("ModalityLUTSequence"):
        low, high = 0.0, float(2 ** film.ModalityLUTSequence[0].LUTDescriptor[2] - 1)
    elif "RescaleSlope" in film:
        slope, intercept = float(film.RescaleSlope), float(film.get("RescaleIntercept", 0))
        low, high = low * slope + intercept, high * slope + intercept
    kind, number = _voi(made)
    if kind == "range":
        low, high = float(values.min()), float(values.max())
        shown = (values - low) / ((high - low) or 1.0)
    else:
        output = np.asarray(apply_voi_lut(apply_modality_lut(film.pixel_array, film), film, number - 1), np.float64)
        if kind == "table":
            low, high = 0.0, float(2 ** film.VOILUTSequence[0].LUTDescriptor[2] - 1)
        shown = (output - low) / ((high - low) or 1.0)
    return 1 - shown if film.PhotometricInterpretation == "MONOCHROME1" else shown
