"""One film, every transfer syntax: file to network input, ours beside pydicom's usual way."""

import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from dicom_gateway.contexts import TRANSFER_SYNTAXES, TransferSyntax
from dicom_gateway.encode import in_syntax, save
from dicom_gateway.pixels import read_radiograph
from model.preprocess import to_input
from tests.benchmarks.report import Row, Section, interleave, ratio, spread
from worker.demo import CHEST, sample_path

SIZE = 224
PLUGINS = ("pylibjpeg-rle", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "python-gdcm", "pyjpegls", "Pillow")


def run(*, quick: bool) -> list[Section]:
    cv2.setNumThreads(1)  # as a decoder process does
    source = dcmread(sample_path(CHEST))
    with TemporaryDirectory(prefix="xrayq-bench-") as folder:
        rows = [
            _row(syntax, save(in_syntax(source, syntax.uid), Path(folder) / "film.dcm"), 3 if quick else 15)
            for syntax in TRANSFER_SYNTAXES
        ]
    found = ", ".join(f"{name} {_version(name)}" for name in PLUGINS if _version(name))
    return [
        Section(
            title=f"decode: {source.Rows} x {source.Columns} x 16 bit, file to {SIZE} x {SIZE}, ms a film, one thread",
            rows=rows,
            note=f"pydicom {version('pydicom')} found these decoders: {found}; - where it has none",
        )
    ]


def ours(path: Path) -> None:
    film = read_radiograph(path)
    to_input(film.pixels, low=film.low, high=film.high, inverted=film.inverted)


def usual(path: Path) -> NDArray[np.generic]:
    """What most programs around pydicom do."""
    dataset = dcmread(path)
    shown = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    return cv2.resize(np.asarray(shown, np.float32), (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def _row(syntax: TransferSyntax, path: Path, rounds: int) -> Row:
    contestants: dict[str, Callable[[], float]] = {"xrayq": lambda: _milliseconds(ours, path)}
    if _pydicom_can(path):
        contestants["pydicom"] = lambda: _milliseconds(usual, path)
    interleave(contestants, 1)  # warm up
    times = interleave(contestants, rounds)
    theirs = times.get("pydicom")
    return {
        "transfer syntax": syntax.name,
        "MB": path.stat().st_size / 1e6,
        "xrayq, ms": spread(times["xrayq"]),
        "pydicom, ms": spread(theirs) if theirs else "-",
        "pydicom / xrayq": ratio(theirs, times["xrayq"]) if theirs else "-",
    }


def _pydicom_can(path: Path) -> bool:
    try:
        usual(path)
    except (RuntimeError, NotImplementedError):  # no decoder, or none for 12 bits
        return False
    return True


def _milliseconds(decode: Callable[[Path], object], path: Path) -> float:
    started = time.perf_counter()
    decode(path)
    return (time.perf_counter() - started) * 1e3


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
