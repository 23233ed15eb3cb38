"""A bundle with an int8 variant: made from training films, measured on validation films, written only if it agrees.

The new bundle holds the old one's files unchanged, model.int8.onnx, and in its manifest under variants.int8:

    file            model.int8.onnx
    made            recipe, training films it was calibrated on, data digest, ONNX Runtime
    limits          flag_tolerance, auroc_tolerance
    tried           recipes measured, this one included
    val             an Agreement: what decided
    test            the same on test films, which decided nothing; absent without such films
    images_per_s    fp32 and int8, one thread, side by side, on the machine that compiled; it decides nothing
    passed          true

Recipes are tried from the fastest to the most careful, and the first that agrees is taken.
"""

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from model.bundle import VARIANT, Bundle, derive, refuse_existing
from model.data.bundle_films import Progress, films_for, logits_of
from model.data.dataset import Films
from model.engine.base import Engine
from model.engine.ort import OrtEngine
from model.errors import DatasetError, ParityError
from model.int8.quantize import Recipe, quantize
from model.json_value import JsonValue
from model.stats.agreement import AUROC_TOLERANCE, Agreement, compare

INT8 = "int8"
RECIPES = (Recipe(), Recipe(keep_first=8, keep_last=16))
"""The fast one, and a careful one for networks that lose more by it."""
CALIBRATION_FILMS = 192
BATCH, ROUNDS = 8, 5


@dataclass(frozen=True, kw_only=True)
class Quantized(JsonValue):
    """How the variant was made."""

    films: int
    """Films that activations were measured on."""
    split: str
    data_digest: str
    recipe: Recipe
    onnxruntime: str


@dataclass(frozen=True, kw_only=True)
class VariantLimits(JsonValue):
    flag_tolerance: float
    auroc_tolerance: float


@dataclass(frozen=True, kw_only=True)
class Int8Variant(JsonValue):
    """What the manifest says of the variant; the head of this module names each field."""

    made: Quantized
    limits: VariantLimits
    tried: int
    val: Agreement
    test: Agreement | None
    """None, and not in the manifest, without such films."""
    images_per_s: dict[str, float]
    passed: bool
    file: str

    def as_dict(self) -> dict[str, Any]:
        plain = super().as_dict()
        return {name: value for name, value in plain.items() if value is not None}


def compile_int8(
    bundle: Bundle,
    folder: Path,
    out: Path,
    *,
    flag_tolerance: float,
    auroc_tolerance: float = AUROC_TOLERANCE,
    threads: int,
    recipes: tuple[Recipe, ...] = RECIPES,
    calibration_films: int = CALIBRATION_FILMS,
    report: Progress = lambda _line: None,
) -> Bundle:
    """Write `out`. model.int8.onnx is the same bytes on every run; the manifest differs in the measured speed.

    Args:
        folder: what `xrayq prepare` wrote.
        flag_tolerance: largest share of validation films whose flags may change.
        auroc_tolerance: largest loss of AUROC of any finding there.
        threads: of the measurements.
        calibration_films: most training films to measure activations on.
        report: called with a line for each step.

    Raises:
        BundleError: `out` exists.
        DatasetError: not a prepared set, prepared otherwise than the bundle needs, or without training or validation.
        EngineError: the network cannot be quantized.
        ParityError: no recipe agrees with fp32; nothing is written.
    """
    refuse_existing(out)
    with tempfile.TemporaryDirectory() as scratch:
        record = int8_variant(
            bundle,
            folder,
            Path(scratch),
            flag_tolerance=flag_tolerance,
            auroc_tolerance=auroc_tolerance,
            threads=threads,
            recipes=recipes,
            calibration_films=calibration_films,
            report=report,
        )
        variants = bundle.variants | {INT8: record.as_dict()}
        return derive(bundle, out, files={record.file: Path(scratch) / record.file}, variants=variants)


def int8_variant(
    bundle: Bundle,
    folder: Path,
    scratch: Path,
    *,
    flag_tolerance: float,
    auroc_tolerance: float = AUROC_TOLERANCE,
    threads: int,
    recipes: tuple[Recipe, ...] = RECIPES,
    calibration_films: int = CALIBRATION_FILMS,
    report: Progress = lambda _line: None,
) -> Int8Variant:
    """What `compile_int8` does, with the file written into the folder `scratch`. Raises likewise, but BundleError."""
    train, measured, digest = _films(bundle, folder)
    chosen = np.unique(np.linspace(0, len(train) - 1, calibration_films).round().astype(np.int64))
    images, content = train.take(chosen), bundle.onnx.read_bytes()
    reference = OrtEngine(bundle, threads=threads)
    expected = {split: logits_of(reference, films) for split, films in measured.items()}
    faults: list[str] = []
    for tried, recipe in enumerate(recipes, 1):
        report(f"quantizing on {len(chosen)} training films: {_words(recipe)}")
        draft = replace(bundle, path=scratch, variants={INT8: {"file": VARIANT.format(INT8)}})
        draft.variant(INT8).write_bytes(quantize(content, images, recipe))
        variant = OrtEngine(draft, threads=threads, precision=INT8)
        agreement = {
            split: compare(bundle, expected[split], logits_of(variant, films), films.labels)
            for split, films in measured.items()
        }
        report(f"{agreement['val'].films} validation films: {_summary(agreement['val'])}")
        faults = agreement["val"].faults(flag_tolerance=flag_tolerance, auroc_tolerance=auroc_tolerance)
        if faults:
            continue
        return Int8Variant(
            made=Quantized(
                films=len(chosen),
                split="train",
                data_digest=digest,
                recipe=recipe,
                onnxruntime=onnxruntime.__version__,
            ),
            limits=VariantLimits(flag_tolerance=flag_tolerance, auroc_tolerance=auroc_tolerance),
            tried=tried,
            val=agreement["val"],
            test=agreement.get("test"),
            images_per_s=speeds(
                {"fp32": OrtEngine(bundle, threads=1), INT8: OrtEngine(draft, threads=1, precision=INT8)}, images
            ),
            passed=True,
            file=VARIANT.format(INT8),
        )
    raise ParityError(f"no int8 of {bundle.name} agrees with fp32, nothing is written: {'; '.join(faults)}")


def speeds(engines: dict[str, Engine], images: NDArray[np.uint8]) -> dict[str, float]:
    """Images/s of each engine on the first few images, in turns; medians."""
    rates: dict[str, list[float]] = {name: [] for name in engines}
    for engine in engines.values():
        engine.warm_up()
    for _ in range(ROUNDS):
        for name, engine in engines.items():
            started = time.perf_counter()
            engine.infer(images[:BATCH])
            rates[name].append(len(images[:BATCH]) / (time.perf_counter() - started))
    return {name: round(median(own), 1) for name, own in rates.items()}


def _films(bundle: Bundle, folder: Path) -> tuple[Films, dict[str, Films], str]:
    """Training films, films to measure on by split, and the digest of all."""
    dataset = films_for(bundle, folder)
    if missing := {"train", "val"} - set(dataset.splits):
        raise DatasetError(f"{folder} has no {' and no '.join(sorted(missing))} films of the bundle's views")
    measured = {split: films for split, films in dataset.splits.items() if split != "train"}
    return dataset.splits["train"], measured, dataset.digest


def _summary(agreement: Agreement) -> str:
    return (
        f"probabilities differ by {agreement.mean_difference:.4f}, at most {agreement.largest_difference:.3f}; "
        f"flags change on {agreement.films_with_other_flags}"
    )


def _words(recipe: Recipe) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in recipe.as_dict().items())
