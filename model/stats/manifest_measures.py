"""What a bundle's manifest says was measured, for those who show it. A bundle scores without any of it, so `load` does
not ask for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from model.bundle import MANIFEST, Bundle
from model.errors import BundleError
from model.json_value import ReadableJson
from model.stats.estimate import Proportion
from model.stats.operating_points import Rates

Read = TypeVar("Read", bound=ReadableJson)


@dataclass(frozen=True, kw_only=True)
class FlagShares(ReadableJson):
    """What one operating point does."""

    sensitivity: Proportion
    specificity: Proportion
    negatives_flagged: Proportion | None = None
    """Of the films of the negative finding; None of a bundle that does not say."""

    @property
    def rates(self) -> Rates:
        return Rates(sensitivity=self.sensitivity, specificity=self.specificity)


@dataclass(frozen=True, kw_only=True)
class SplitShares(ReadableJson):
    """What the network does on one split."""

    films: int
    accuracy: Proportion
    recall: dict[str, Proportion]
    """By finding."""
    flags: dict[str, FlagShares]
    """By finding with an operating point."""


@dataclass(frozen=True, kw_only=True)
class CalledViews(ReadableJson):
    accuracy: Proportion
    """Films whose view the network calls as their tag does."""


@dataclass(frozen=True, kw_only=True)
class GateShares(ReadableJson):
    """What the gate does on one split."""

    view: CalledViews
    eligible_refused: Proportion
    ap_tagged_pa_refused: Proportion


@dataclass(frozen=True, kw_only=True)
class VariantDifferences(ReadableJson):
    """A variant beside the reference on validation films."""

    films: int
    mean_difference: float
    """Mean difference of a probability, 0..1."""
    largest_difference: float
    films_with_other_flags: int


@dataclass(frozen=True, kw_only=True)
class VariantMeasures(ReadableJson):
    val: VariantDifferences
    images_per_s: dict[str, float]
    """By precision, fp32 included; one thread, where it was compiled."""


def split_shares(bundle: Bundle) -> dict[str, SplitShares]:
    """By split. Raises BundleError where the manifest does not hold them."""
    return {split: _read(SplitShares, bundle, "metrics", split, found) for split, found in bundle.metrics.items()}


def gate_shares(bundle: Bundle) -> dict[str, GateShares]:
    """By split; {} of a bundle without a gate. Raises BundleError where the manifest does not hold them."""
    if bundle.gate is None:
        return {}
    splits = bundle.gate.get("metrics") if isinstance(bundle.gate, Mapping) else None
    if not isinstance(splits, Mapping) or "val" not in splits:
        raise BundleError(f"{bundle.path / MANIFEST}: gate has no measures of validation films")
    return {split: _read(GateShares, bundle, "gate", split, found) for split, found in splits.items()}


def variant_measures(bundle: Bundle, precision: str) -> VariantMeasures:
    """Raises BundleError where the bundle has no such variant, or its manifest does not hold them."""
    bundle.variant(precision)
    return _read(VariantMeasures, bundle, "variants", precision, bundle.variants[precision])


def _read(kind: type[Read], bundle: Bundle, block: str, name: str, found: object) -> Read:
    try:
        return kind.read(found)
    except ValueError as error:
        fields = ", ".join(sorted({".".join(map(str, fault["loc"])) for fault in getattr(error, "errors", list)()}))
        raise BundleError(
            f"{bundle.path / MANIFEST}: {block} of {name} cannot be read: {fields or 'malformed'}"
        ) from None
