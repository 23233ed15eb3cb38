"""A stored score once more: the same film, bundle and engine must say the same. Writes nothing."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_gateway.spool import Spool
from model.bundle import Bundle
from model.conformal import unsure
from model.digest import file_digest
from model.engine import parity
from model.engine.base import Engine
from model.errors import BundleError, EngineError
from model.findings import NOT_NORMAL
from model.preprocess import PreprocessSpec
from model.scorer import score
from model.stats.manifest_measures import variant_measures
from worker.db.scores import ScoreView
from worker.errors import NotFound, Unhealthy

SAME_ENGINE = 1e-4
"""Largest difference of a logit where the engine is the stored one, to its version."""
RUNTIMES: dict[str, str] = {
    r"onnxruntime-.*-fp32": "onnxruntime",
    r"onnxruntime-.*-int8": "onnxruntime-int8",
    r"torch-.*": "torch-cuda",
    r"tensorrt.*": "tensorrt",
}
"""By a pattern of the stored engine's name: the engine to open."""
Opener = Callable[[Bundle, str], Engine]


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far a repeated score may be from the stored one."""

    number: str
    """logit or probability"""
    largest: float
    source: str

    def as_dict(self) -> dict[str, Any]:
        return {"of": self.number, "largest": self.largest, "source": self.source}


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """A stored score beside its repetition."""

    stored: ScoreView
    engine: str
    """The engine that repeated it."""
    logits: dict[str, float]
    probabilities: dict[str, float]
    flags: list[str]
    prediction_set: list[str] | None
    tolerance: Tolerance

    @property
    def differences(self) -> dict[str, float]:
        """Absolute differences by finding, of the number that the tolerance names."""
        stored = {
            name: value.logit if self.tolerance.number == "logit" else value.probability
            for name, value in self.stored.findings.items()
        }
        repeated = self.logits if self.tolerance.number == "logit" else self.probabilities
        return {name: abs(stored[name] - repeated[name]) for name in stored}

    @property
    def agrees(self) -> bool:
        return (
            max(self._of_network.values()) <= self.tolerance.largest
            and (self.engine != self.stored.engine or self._largest_change() <= SAME_ENGINE)
            and not any(self._other_flag(name) for name in self.stored.findings)
            and (self.engine != self.stored.engine or self.prediction_set == self.stored.prediction_set)
        )

    @property
    def unsure(self) -> bool:
        """Whether the prediction set of the repetition names several findings, or none."""
        return unsure(self.prediction_set)

    @property
    def _of_network(self) -> dict[str, float]:
        """Differences of what the network says: NOT_NORMAL follows from it, and its logit may move twice as far."""
        return {name: difference for name, difference in self.differences.items() if name != NOT_NORMAL}

    def _largest_change(self) -> float:
        """Of a probability: it shows what the logits do not, another calibration."""
        return max(abs(value.probability - self.probabilities[name]) for name, value in self.stored.findings.items())

    def _other_flag(self, finding: str) -> bool:
        """Whether the flag changed. On another engine a probability may be carried over its operating point."""
        value, point = self.stored.findings[finding], self.stored.findings[finding].operating_point
        flag, probability = finding in self.flags, self.probabilities[finding]
        if value.flag == flag:
            return False
        as_decided = point is not None and value.flag == (value.probability >= point) and flag == (probability >= point)
        return self.engine == self.stored.engine or not as_decided

    def as_dict(self) -> dict[str, Any]:
        return {
            "role": self.stored.role,
            "bundle_digest": self.stored.bundle_digest,
            "engine": {"stored": self.stored.engine, "replay": self.engine},
            "software_version": self.stored.software_version,
            "tolerance": self.tolerance.as_dict(),
            "findings": {
                name: {
                    "stored": {"logit": value.logit, "probability": value.probability, "flag": value.flag},
                    "replay": {
                        "logit": self.logits[name],
                        "probability": self.probabilities[name],
                        "flag": name in self.flags,
                    },
                    "difference": self.differences[name],
                }
                for name, value in self.stored.findings.items()
            },
            "prediction_set": {"stored": self.stored.prediction_set, "replay": self.prediction_set},
            "unsure": {"stored": self.stored.unsure, "replay": self.unsure},
            "agrees": self.agrees,
        }


def spooled(spool: Spool, digest: str) -> Path:
    """The film as it was received. Raises NotFound when it is gone, Unhealthy when it is another."""
    path = spool.path_of(digest)
    try:
        actual = file_digest(path)
    except FileNotFoundError:
        raise NotFound(f"the film {digest[:12]} is not in the spool {spool.root}: it cannot be scored again") from None
    except OSError as error:
        raise Unhealthy(f"the film {digest[:12]} cannot be read from the spool: {error.strerror}") from None
    if actual != digest:
        raise Unhealthy(f"the film {digest[:12]} in the spool was altered: its digest is {actual[:12]}")
    return path


def replay(
    stored: ScoreView, bundle: Bundle, read: Callable[[PreprocessSpec], NDArray[np.uint8]], open_engine: Opener
) -> Replayed:
    """Score a film as it was scored.

    Args:
        bundle: of the stored score's digest.
        read: the film as input [size, size].
        open_engine: by a name of `model.engine.choose`. Raises ModelError where it cannot run.
    """
    with _engine(bundle, stored.engine, open_engine) as engine:
        (again,) = score(engine, bundle, read(bundle.preprocess)[None, None], [stored.device or ""])
        return Replayed(
            stored=stored,
            engine=engine.spec.name,
            logits={name: logit for name, (logit, _) in again.stated.items()},
            probabilities={name: probability for name, (_, probability) in again.stated.items()},
            flags=list(again.flags),
            prediction_set=None if again.prediction_set is None else list(again.prediction_set),
            tolerance=tolerance(stored.engine, engine.spec.name, bundle),
        )


def tolerance(stored: str, used: str, bundle: Bundle) -> Tolerance:
    """What a score of one engine may differ by on another. Raises Unhealthy where the bundle does not say."""
    if stored == used:
        return Tolerance(number="logit", largest=SAME_ENGINE, source="the same engine")
    if "-int8" in stored + used and stored.rpartition("-")[2] != used.rpartition("-")[2]:
        try:
            largest = variant_measures(bundle, "int8").val.largest_difference
        except BundleError as error:
            raise Unhealthy(str(error)) from None
        return Tolerance(
            number="probability", largest=largest, source="largest of int8 on the bundle's validation films"
        )
    return Tolerance(number="logit", largest=parity.TOLERANCE, source="allowed between engines of the same network")


@contextmanager
def _engine(bundle: Bundle, stored: str, open_engine: Opener) -> Iterator[Engine]:
    """The stored engine where it runs here, else the reference."""
    name = next((name for pattern, name in RUNTIMES.items() if re.fullmatch(pattern, stored)), "onnxruntime")
    try:
        engine = open_engine(bundle, name)
    except EngineError:
        engine = open_engine(bundle, "onnxruntime")
    try:
        yield engine
    finally:
        engine.close()
