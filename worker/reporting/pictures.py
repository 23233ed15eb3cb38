"""The picture of a result: the film as displayed and, where a flag is up, the map of what spoke for it.

The film is decoded in a child process, as for its score, and the map is of the bundle that scored it. Where either
cannot be had now the result waits: a second sending shall show what the first did.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pebble import ProcessPool

from dicom_gateway.capture_frames import DrawnMap
from dicom_gateway.picture import Picture
from dicom_gateway.result import Algorithm, FilmResult
from model.activation_map import ActivationMaps, finding_to_show
from model.bundle import Bundle
from model.engine.ort import REFERENCE
from model.errors import BundleError, EngineError, first_line
from model.heat import COLOURS, overlay, placed
from model.preprocess import PreprocessSpec
from worker.confined import confine_decoder
from worker.errors import Undelivered
from worker.reporting.faults import NO_BUNDLE, NO_PICTURE

log = logging.getLogger("xrayq.report")

FILMS_PER_PROCESS = 500  # then a fresh one: decoders leak
KEPT = 2
"""Networks that stay open: the live bundle's, and the one before it while its last results go out."""
FindBundle = Callable[[str], Bundle]
"""By digest. Raises BundleError where it is not here."""


@dataclass(frozen=True, kw_only=True)
class Network:
    bundle: Bundle
    maps: ActivationMaps | None
    """None where its head is another than the paper's: no map can be told from it."""


class Pictures:
    """Makes pictures, one at a time. Its methods may be called from several threads."""

    def __init__(self, find_bundle: FindBundle, *, memory_bytes: int, max_pixels: int, seconds: float) -> None:
        """
        Args:
            memory_bytes: address space of the decoder's process.
            max_pixels: largest rows x columns that is decoded.
            seconds: for one film; then the process is killed.
        """
        self._find_bundle = find_bundle
        self._memory_bytes = memory_bytes
        self._max_pixels = max_pixels
        self._seconds = seconds
        self._networks: dict[tuple[str, str], Network] = {}
        self._lock = threading.Lock()
        self._pool: ProcessPool | None = None
        self._closed = False

    def __call__(self, result: FilmResult, film: Path) -> tuple[Picture, DrawnMap | None]:
        """Picture and map of a film that was analysed. Raises Undelivered where they cannot be had now."""
        with self._lock:
            network = self._network(result.algorithm)
            picture, image = self._decoded(film, network.bundle.preprocess)
            return picture, _drawn(result, picture, image, network)

    def close(self) -> None:
        """Who waits for a picture is told that there is none now."""
        self._closed = True
        if pool := self._pool:
            pool.stop()
            pool.join()

    def _network(self, algorithm: Algorithm) -> Network:
        key = algorithm.bundle_digest, precision_of(algorithm.engine)
        if key not in self._networks:
            try:
                bundle = self._find_bundle(key[0])
            except BundleError as error:
                log.error("bundle of a result not found", extra={"bundle": key[0][:12], "reason": first_line(error)})
                raise Undelivered(NO_BUNDLE) from error
            try:
                maps = ActivationMaps(bundle, threads=1, precision=key[1])
            except (BundleError, EngineError) as error:
                log.warning("pictures without a map", extra={"bundle": key[0][:12], "reason": first_line(error)})
                maps = None
            if len(self._networks) == KEPT:
                del self._networks[next(iter(self._networks))]
            self._networks[key] = Network(bundle=bundle, maps=maps)
        return self._networks[key]

    def _decoded(self, film: Path, spec: PreprocessSpec) -> tuple[Picture, NDArray[np.uint8]]:
        if self._closed:
            raise Undelivered(NO_PICTURE)
        if self._pool is None or not self._pool.active:
            self._pool = ProcessPool(
                max_workers=1,
                max_tasks=FILMS_PER_PROCESS,
                initializer=confine_decoder,
                initargs=[self._memory_bytes],
                context=get_context("forkserver"),
            )
        arguments = [str(film), spec, self._max_pixels]
        future: Future[tuple[Picture, NDArray[np.uint8]]] = self._pool.schedule(
            _decode, args=arguments, timeout=self._seconds
        )
        try:
            return future.result(timeout=2 * self._seconds)  # the pool may not come to begin
        except Exception as error:  # it was decoded for its score: whatever went wrong is of this moment
            log.warning("no picture of a film", extra={"reason": type(error).__name__})
            raise Undelivered(NO_PICTURE) from error


def precision_of(engine: str) -> str:
    """Of the file behind a score, by the engine's name: a GPU is explained by the fp32 network, as it is held to it."""
    name, _, precision = engine.rpartition("-")
    return precision if name.startswith("onnxruntime-") else REFERENCE


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
