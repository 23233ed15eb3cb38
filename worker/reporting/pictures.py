"""The picture of a result: the film as displayed and, where a flag is up, the map of what spoke for it.

The film is decoded in a child process, as for its score, and the map is of the bundle that scored it. Where either
cannot be had now the result waits: a second sending shall show what the first did.
"""

import logging
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_gateway.capture_frames import DrawnMap
from dicom_gateway.picture import Picture
from dicom_gateway.result import FilmResult
from model.activation_map import finding_to_show
from model.errors import BundleError, EngineError
from model.heat import COLOURS, overlay, placed
from model.preprocess import PreprocessSpec
from worker.bundles.networks import FindBundle, Network, Networks
from worker.confined import ConfinedPool
from worker.errors import Undelivered
from worker.reporting.faults import NO_BUNDLE, NO_PICTURE

log = logging.getLogger("xrayq.report")


class Pictures:
    """Makes pictures, one at a time. Its methods may be called from several threads."""

    def __init__(self, find_bundle: FindBundle, *, memory_bytes: int, max_pixels: int, seconds: float) -> None:
        """
        Args:
            memory_bytes: address space of the decoder's process.
            max_pixels: largest rows x columns that is decoded.
            seconds: for one film; then the process is killed.
        """
        self._max_pixels = max_pixels
        self._seconds = seconds
        self._networks = Networks(find_bundle)
        self._lock = threading.Lock()
        self._pool = ConfinedPool(memory_bytes=memory_bytes, seconds=seconds)

    def __call__(self, result: FilmResult, film: Path) -> tuple[Picture, DrawnMap | None]:
        """Picture and map of a film that was analysed. Raises Undelivered where they cannot be had now."""
        with self._lock:
            try:
                network = self._networks.of(result.algorithm.bundle_digest, result.algorithm.engine)
            except BundleError as error:
                raise Undelivered(NO_BUNDLE) from error
            picture, image = self._decoded(film, network.bundle.preprocess)
            return picture, _drawn(result, picture, image, network)

    def close(self) -> None:
        """Who waits for a picture is told that there is none now."""
        self._pool.close()

    def _decoded(self, film: Path, spec: PreprocessSpec) -> tuple[Picture, NDArray[np.uint8]]:
        try:
            future = self._pool.submit(_decode, str(film), spec, self._max_pixels)
            return future.result(timeout=2 * self._seconds)  # the pool may not come to begin
        except Exception as error:  # it was decoded for its score: whatever went wrong is of this moment
            log.warning("no picture of a film", extra={"reason": type(error).__name__})
            raise Undelivered(NO_PICTURE) from error


def _drawn(result: FilmResult, picture: Picture, image: NDArray[np.uint8], network: Network) -> DrawnMap | None:
    flags = [found.name for found in result.findings if found.flag]
    shown = finding_to_show(flags, {found.name: found.probability for found in result.findings})
    if network.maps is None or shown is None:
        return None
    try:
        (maps,) = network.maps.of(image[None, None])
    except EngineError as error:
        raise Undelivered(NO_PICTURE) from error
    evidence = maps.evidence(shown)
    return DrawnMap(
        finding=shown,
        pixels=overlay(picture, placed(evidence, maps.lattice, *picture.shape)),
        colours=COLOURS,
        most=float(evidence.max()),
    )


def _decode(film: str, spec: PreprocessSpec, max_pixels: int) -> tuple[Picture, NDArray[np.uint8]]:
    """What the child does: the picture, and the network's input. Raises PixelError, OSError, MemoryError."""
    from dicom_gateway.picture import picture_of
    from dicom_gateway.pixels import read_radiograph
    from model.preprocess import to_input

    shown = read_radiograph(Path(film), max_pixels=max_pixels)
    image = to_input(
        shown.pixels, low=shown.low, high=shown.high, inverted=shown.inverted, aspect=shown.aspect, spec=spec
    )
    return picture_of(shown), image
