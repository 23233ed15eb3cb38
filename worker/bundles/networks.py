"""The networks that explain scores: of any bundle that scored a film, opened when first asked for."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from model.activation_map import ActivationMaps
from model.bundle import Bundle
from model.engine.ort import REFERENCE
from model.errors import BundleError, EngineError, first_line

log = logging.getLogger("xrayq.bundles")

KEPT = 2
"""Networks that stay open: the live bundle's, and the one before it while people still ask for its scores."""
FindBundle = Callable[[str], Bundle]
"""By digest. Raises BundleError where it is not here."""


@dataclass(frozen=True, kw_only=True)
class Network:
    bundle: Bundle
    maps: ActivationMaps | None
    """None where its head is another than the paper's: no map can be told from it."""


class Networks:
    """Safe to use from several threads."""

    def __init__(self, find_bundle: FindBundle) -> None:
        self._find_bundle = find_bundle
        self._open: dict[tuple[str, str], Network] = {}
        self._lock = threading.Lock()

    def of(self, bundle_digest: str, engine: str) -> Network:
        """Of a score: its bundle, and the name of the engine that made it. Raises BundleError."""
        key = bundle_digest, precision_of(engine)
        with self._lock:
            if key not in self._open:
                network = self._opened(*key)
                if len(self._open) == KEPT:
                    del self._open[next(iter(self._open))]
                self._open[key] = network
            return self._open[key]

    def _opened(self, digest: str, precision: str) -> Network:
        try:
            bundle = self._find_bundle(digest)
        except BundleError as error:
            log.error("bundle of a score not found", extra={"bundle": digest[:12], "reason": first_line(error)})
            raise
        try:
            maps = ActivationMaps(bundle, threads=1, precision=precision)
        except (BundleError, EngineError) as error:
            log.warning("no maps of a bundle", extra={"bundle": digest[:12], "reason": first_line(error)})
            maps = None
        return Network(bundle=bundle, maps=maps)


def precision_of(engine: str) -> str:
    """Of the file behind a score, by the engine's name: a GPU is explained by the fp32 network, as it is held to it."""
    name, _, precision = engine.rpartition("-")
    return precision if name.startswith("onnxruntime-") else REFERENCE
