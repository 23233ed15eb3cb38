"""The site's labelled films for the workload simulator, kept for a while: a slider asks many times."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine

from model.bundle import Bundle
from worker.bundles.changes import live_bundle
from worker.monitoring.labelled_scores import SiteScores, labelled_scores

KEPT_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class LabelledFilms:
    """Of one device of the live bundle."""

    bundle: Bundle
    """As it is for this device."""
    devices: tuple[str, ...]
    """That the bundle has a calibration of."""
    site: SiteScores


@dataclass
class Labelled:
    """Read once in KEPT_SECONDS for each device."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _kept: dict[str, tuple[float, LabelledFilms]] = field(default_factory=dict)

    def of(self, engine: Engine, default: Path | None, device: str) -> LabelledFilms:
        """Raises Unhealthy where the live bundle cannot be opened here, BundleError where it has no such device.

        Args:
            default: the settings' bundle; None for the shipped reference.
            device: "" for films that took the bundle's own calibration.
        """
        with self._lock:
            at, kept = self._kept.get(device, (0.0, None))
            if kept is None or time.monotonic() - at > KEPT_SECONDS:
                bundle = live_bundle(engine, default)
                kept = LabelledFilms(
                    bundle=bundle.for_device(device),
                    devices=tuple(known.name for known in bundle.devices),
                    site=labelled_scores(engine, bundle, device),
                )
                self._kept[device] = time.monotonic(), kept
            return kept
