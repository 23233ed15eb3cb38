"""Simulated AEs under the acceptance rule: how often each is called go or no-go.

`python -m tests.unit.model.promotion.acceptance_sites` prints the table of SERVICE.md.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.bundle import REFERENCE, Bundle, load
from model.decision import SENSITIVITY, SPECIFICITY, has
from model.promotion.acceptance_rule import GO, NO_GO, UNDECIDED, CountedRate, alphas, floor_of, state_of, verdict

MARGIN = 0.10
MIX = (0.6, 0.2, 0.2)
"""Of normal, pneumonia and covid19 among the films of the simulated AEs."""


@dataclass(frozen=True, kw_only=True)
class SimulatedAe:
    """An AE whose rates are those of the bundle less `worse`."""

    name: str
    worse: float = 0.0
    only: tuple[str, str] | None = None
    """Finding and rate that alone are worse; None: all of them."""
    mix: tuple[float, ...] = MIX


@dataclass(frozen=True, kw_only=True)
class Ends:
    """What became of many AEs of a kind."""

    verdicts: Counter[str] = field(default_factory=Counter)
    """After the last look; go and no-go end an AE's looks."""
    first: Counter[str] = field(default_factory=Counter)
    """After the first look."""


AES = (
    SimulatedAe(name="as calibrated"),
    SimulatedAe(name="0.05 worse in every rate", worse=0.05),
    SimulatedAe(name="at the floor in every rate", worse=MARGIN),
    SimulatedAe(name="at the floor in one: sensitivity of covid19", worse=MARGIN, only=("covid19", SENSITIVITY)),
    SimulatedAe(name="0.20 worse in one: sensitivity of covid19", worse=0.20, only=("covid19", SENSITIVITY)),
    SimulatedAe(name="0.20 worse in every rate", worse=0.20),
)


def simulate(ae: SimulatedAe, *, films: int, looks: int, aes: int, seed: int, bundle: Bundle | None = None) -> Ends:
    """Draw `films` films for each look, from many AEs of a kind.

    Flags of one film are drawn independently: the rule takes each rate by itself, so their dependence between
    flags changes no chance that is controlled for a single one.
    """
    bundle, random, ends = bundle or load(REFERENCE), np.random.default_rng(seed), Ends()
    for _ in range(aes):
        labels = np.zeros(len(bundle.findings), np.int64)
        right = np.zeros((len(bundle.operating_points), len(bundle.findings)), np.int64)
        for look in range(1, looks + 1):
            new = random.multinomial(films, ae.mix)
            labels += new
            right += random.binomial(new, _chances(ae, bundle))
            said = _said(bundle, right, labels, look)
            if look == 1:
                ends.first[said] += 1
            if said != UNDECIDED:
                break
        ends.verdicts[said] += 1
    return ends


def _chances(ae: SimulatedAe, bundle: Bundle) -> NDArray[np.float64]:
    """[flags, labels] chance that a flag is right on a film."""
    rows = []
    for point in bundle.operating_points:
        row = []
        for label in bundle.findings:
            positive = has(point.finding, label, bundle.negative)
            of = (point.finding, SENSITIVITY if positive else SPECIFICITY)
            row.append(max(0.0, _calibrated(bundle, point.finding, label) - (ae.worse if ae.only in (None, of) else 0)))
        rows.append(row)
    return np.array(rows)


def _calibrated(bundle: Bundle, finding: str, label: str) -> float:
    point = next(point for point in bundle.operating_points if point.finding == finding)
    flagged, films = point.flagged_of(label, bundle.negative) or (0, 0)
    return flagged / films if has(finding, label, bundle.negative) else 1 - flagged / films


def counted(bundle: Bundle, right: NDArray[np.int64], labels: NDArray[np.int64]) -> list[CountedRate]:
    """The rates that these counts make; `right` [flags, labels]."""
    rates = []
    for row, point in enumerate(bundle.operating_points):
        for positive, rate in ((True, SENSITIVITY), (False, SPECIFICITY)):
            at = [
                index
                for index, label in enumerate(bundle.findings)
                if has(point.finding, label, bundle.negative) == positive
            ]
            films = int(labels[at].sum())
            there = sum(labels[index] * _calibrated(bundle, point.finding, bundle.findings[index]) for index in at)
            calibrated = there / films if films else getattr(point, rate)
            made = CountedRate(
                finding=point.finding, rate=rate, right=int(right[row, at].sum()), films=films, calibrated=calibrated
            )
            rates.append(made)
    return rates


def _said(bundle: Bundle, right: NDArray[np.int64], labels: NDArray[np.int64], look: int) -> str:
    """The rule's verdict, without the limits and plans that `judge` adds for people."""
    rates = counted(bundle, right, labels)
    lower, upper = alphas(look, len(rates))
    return verdict([state_of(one.right, one.films, floor_of(one.calibrated, MARGIN), lower, upper) for one in rates])


def main() -> None:
    bundle, aes = load(REFERENCE), 2000
    print("| AE | go at the first draw | go | no-go | undecided |\n|---|---|---|---|---|")
    for ae in AES:
        ends = simulate(ae, films=1500, looks=3, aes=aes, seed=20261128, bundle=bundle)
        shares = [ends.first[GO], *(ends.verdicts[name] for name in (GO, NO_GO, UNDECIDED))]
        print(f"| {ae.name} | {' | '.join(f'{100 * share / aes:.1f} %' for share in shares)} |")


if __name__ == "__main__":
    main()
