"""Shares and operating points on the screen: what a point promises, what its flags do, and what a flag means where
films are mixed otherwise."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from model.decision import OperatingPoint
    from model.stats.estimate import Estimate, Proportion
    from model.stats.manifest_measures import FlagShares
    from model.stats.operating_points import FlagMeasures

SHIFT_NOTE = (
    "The prevalences change what a probability says, and no flag: thresholds and limits above are for probabilities as "
    "the calibration films are mixed."
)
POINTS_NOTE = (
    "PPV and NPV: of the flagged films the share with the finding, of the others the share without, where so many "
    "films have it."
)


def print_point(
    console: "Console", point: "OperatingPoint", measured: "Iterable[tuple[str, FlagMeasures | FlagShares]]"
) -> None:
    """A line with its promise, a table with a row for each split that it was measured on."""
    from rich.text import Text

    from model.findings import SPOKEN
    from model.pages.texts import promise_text
    from model.stats.operating_points import PREVALENCES, Rates, predictive_values
    from worker.cli.console import print_rows

    name = (SPOKEN.get(point.finding, point.finding), "bold")
    console.print(Text.assemble("flag ", name, f", p at or over {point.threshold:.4f}: {promise_text(point)}"))
    rates, predictions = [], []
    for split, found in measured:
        rates.append((split, *map(share_text, (found.sensitivity, found.specificity, found.negatives_flagged))))
        for share in PREVALENCES:
            value = predictive_values(Rates(sensitivity=found.sensitivity, specificity=found.specificity), share)
            predictions.append((split, f"{share:.0%}", estimate_text(value.ppv, 3), estimate_text(value.npv, 3)))
    print_rows(console, (point.id or point.finding, "sensitivity", "specificity", "normals flagged"), rates)
    print_rows(console, ("films", "that have it", "PPV", "NPV"), predictions)


def share_text(share: "Proportion | None") -> str:
    """A dash where it was not measured."""
    if share is None or share.value is None:
        return "-"
    low, high = share.interval95
    return f"{share.value:.3f} [{low:.2f}, {high:.2f}] {share.counts}"


def estimate_text(estimate: "Estimate", digits: int = 2) -> str:
    """With so many digits of the interval; a dash where it was not measured."""
    if estimate.value is None:
        return "-"
    bounds = estimate.interval95
    return f"{estimate.value:.3f}" + (f" [{bounds[0]:.{digits}f}, {bounds[1]:.{digits}f}]" if bounds else "")
