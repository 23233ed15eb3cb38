"""The web page's pictures: a film at 1,000 pixels, another window of it, its full size, and the map of a finding."""

import io
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import Image
from pydicom import dcmread, uid
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from dicom_gateway.display import Look
from dicom_gateway.encode import in_syntax, save
from dicom_gateway.windows import Window
from model.activation_map import ActivationMaps
from model.bundle import REFERENCE, Bundle, load
from model.digest import file_digest
from model.heat import layer, placed
from tests.benchmarks.report import Row, Section, interleave, ratio, spread
from tests.phantoms import chest_film, chest_pixels
from worker.web.pictures.film_pictures import FilmPictures
from worker.web.pictures.png import to_png
from worker.web.pictures.values import SpooledFilm

SIDE, ROWS, COLUMNS = 1000, 2500, 2048
SYNTAXES = (uid.ExplicitVRLittleEndian, uid.JPEG2000Lossless, uid.JPEGLSLossless)
CHOSEN = Look(window=Window(center=1500, width=1000))


def run(*, quick: bool) -> list[Section]:
    cv2.setNumThreads(1)  # as the page's children do
    bundle, rounds = load(REFERENCE), 3 if quick else 9
    with TemporaryDirectory(prefix="xrayq-bench-") as folder:
        rows = [_of_films(syntax, Path(folder), bundle, rounds) for syntax in SYNTAXES]
    return [
        Section(
            title=f"pictures: {ROWS} x {COLUMNS} in 12 bits as PNG, ms, asked of a child process",
            rows=rows,
            note=f"pydicom: apply_voi_lut, and Pillow's resize and PNG at {SIDE}, in this process",
        ),
        Section(
            title=f"maps: from the network's input to a layer of {SIDE} pixels, ms, one thread, no torch",
            rows=[_of_maps(bundle, precision, rounds) for precision in ("fp32", "int8")],
            note="",
        ),
    ]


def usual(path: Path) -> None:
    """What most programs around pydicom and Pillow do."""
    dataset = dcmread(path)
    shown = np.asarray(apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset), np.float32)
    picture = Image.fromarray(np.asarray(np.rint(shown / shown.max() * 255), np.uint8))
    picture.thumbnail((SIDE, SIDE))
    picture.save(io.BytesIO(), "png")


def _of_films(syntax: str, folder: Path, bundle: Bundle, rounds: int) -> Row:
    made = [_film(syntax, folder, number) for number in range(rounds + 1)]
    new = iter(made)
    with_windows = made[0]
    pictures = FilmPictures(lambda _: bundle, memory_bytes=4 << 30, max_pixels=64 << 20, seconds=60)
    try:
        pictures.picture(next(new), side=SIDE)  # children begin
        contestants: dict[str, Callable[[], float]] = {
            "first": lambda: _milliseconds(lambda: pictures.picture(next(new), side=SIDE)),
            "window": lambda: _milliseconds(lambda: pictures.picture(with_windows, side=SIDE, look=CHOSEN)),
            "full": lambda: _milliseconds(lambda: pictures.picture(with_windows, look=CHOSEN)),
            "usual": lambda: _milliseconds(lambda: usual(with_windows.path)),
        }
        times = interleave(contestants, rounds)
    finally:
        pictures.close()
    return {
        "film": uid.UID(syntax).name,
        "MB": with_windows.path.stat().st_size / 1e6,
        f"first at {SIDE}": spread(times["first"]),
        "another window": spread(times["window"]),
        "full size": spread(times["full"]),
        "pydicom": spread(times["usual"]),
        "pydicom / first": ratio(times["usual"], times["first"]),
    }


def _film(syntax: str, folder: Path, number: int) -> SpooledFilm:
    film = chest_film(f"film{number}", pixels=chest_pixels(ROWS, COLUMNS), WindowCenter=1800, WindowWidth=3700)
    path = save(in_syntax(film, syntax), folder / f"{number}.dcm")
    return SpooledFilm(path=path, digest=file_digest(path))


def _of_maps(bundle: Bundle, precision: str, rounds: int) -> Row:
    maps = ActivationMaps(bundle, threads=1, precision=precision)
    image = np.random.default_rng(1).integers(0, 256, (1, 1, 224, 224), np.uint8)
    (film,) = maps.of(image)
    heat = placed(film.evidence("covid19"), film.lattice, SIDE, SIDE * COLUMNS // ROWS)
    colours = layer(heat)
    times = interleave(
        {
            "network": lambda: _milliseconds(lambda: maps.of(image)),
            "layer": lambda: _milliseconds(lambda: layer(placed(film.evidence("covid19"), film.lattice, *heat.shape))),
            "png": lambda: _milliseconds(lambda: to_png(colours)),
        },
        rounds,
    )
    return {
        "network": precision,
        "maps of all findings": spread(times["network"]),
        "layer": spread(times["layer"]),
        "PNG": spread(times["png"]),
    }


def _milliseconds(made: Callable[[], object]) -> float:
    started = time.perf_counter()
    made()
    return (time.perf_counter() - started) * 1e3
