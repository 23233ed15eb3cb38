"""Logits to probabilities, and what became of films with such a probability.

Temperature scaling divides all logits by one number; vector scaling then gives each finding a scale and a bias of its
own (Guo et al. 2017). `model.calibrating.fitting` fits both and says which to take, or that the logits are best as they
are. A prior shift then moves the probabilities to the prevalences of a site.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.manifest_values import Rule, block, by_finding, count, interval, number, read_by, sequence, share

Logits = NDArray[np.float32]
Probabilities = NDArray[np.float64]
NONE, TEMPERATURE, VECTOR = "none", "temperature", "vector"
METHODS = (NONE, TEMPERATURE, VECTOR)
"""The simpler first."""
SUM_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Probabilities of one finding that are known equally well."""

    up_to: float
    """Highest probability of the bin, 0..1; the next bin begins above it."""
    films: int
    """Calibration films in it, 0 between films."""
    positives: int
    """Films of these that had the finding."""
    interval95: tuple[float, float]
    """Of the share with the finding, by films in the bin and around it: `model.calibrating.intervals`. In bundles of
    earlier releases of positives / films alone, by Clopper and Pearson."""

    @classmethod
    def read(cls, found: object, finding: str) -> "Bin":
        """From a manifest. Raises TypeError or ValueError."""
        made = cls(**read_by(_BIN, found, f"a bin of {finding}"))
        if made.positives > made.films:
            raise ValueError(f"a bin of {finding} has {made.positives} films with it of {made.films}")
        return made


@dataclass(frozen=True, kw_only=True)
class PriorShift:
    """From films as they were calibrated on to a site where findings are as common as it says (Saerens et al. 2002).

    It takes films of a finding to look alike at both places, and each finding to be more common or rarer there."""

    films: dict[str, float]
    """Share of each finding in the calibration films, in the bundle's order."""
    site: dict[str, float]
    """Its prevalence at the site; they sum to 1."""

    @classmethod
    def read(cls, found: object, findings: tuple[str, ...]) -> "PriorShift":
        """From a manifest. Raises KeyError or ValueError."""
        given = block(found, "prior_shift")
        films, site = (by_finding(given[key], f"prior_shift: {key}", findings, share) for key in ("films", "site"))
        for shares in (films, site):
            if not all(share > 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > SUM_TOLERANCE:
                raise ValueError("prevalences must be over 0 and sum to 1")
        return cls(films=films, site=site)

    @property
    def logs(self) -> NDArray[np.float64]:
        """[findings], added to the logits."""
        return np.asarray(np.log(list(self.site.values())) - np.log(list(self.films.values())))


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How a bundle's logits become probabilities. Lives in the bundle."""

    temperature: float
    """Logits are divided by it."""
    scale: tuple[float, ...] = ()
    """Vector scaling: by finding, of what the temperature left; () with a temperature alone."""
    bias: tuple[float, ...] = ()
    """The same, added after the scale."""
    bins: dict[str, tuple[Bin, ...]] = field(default_factory=dict)
    """By finding, from the lowest probability to 1; {} where only `xrayq train` fitted it."""
    record: dict[str, Any] = field(default_factory=dict)
    """On which films it was fitted and what it changed there; {} where only `xrayq train` fitted it."""
    prior_shift: PriorShift | None = None
    """To the site's prevalences; None: probabilities are for films mixed as the calibration films. It changes what a
    probability says; flags, prediction sets and intervals are made before it."""

    @classmethod
    def read(cls, found: object, findings: tuple[str, ...]) -> "Calibration":
        """From a manifest. Raises KeyError, TypeError or ValueError."""
        found = block(found, "calibration")
        temperature = number(found["temperature"], "temperature")
        if not temperature > 0:
            raise ValueError("temperature must be positive")
        method = found.get("method", TEMPERATURE)
        if method not in METHODS:
            raise ValueError(f"calibration method {method!r} is not known")
        if method == NONE and temperature != 1:
            raise ValueError(f"temperature {temperature:g} with calibration method {NONE}, which leaves logits alone")
        scale, bias = (_numbers(found[name], name) if method == VECTOR else () for name in ("scale", "bias"))
        if method == VECTOR and not len(scale) == len(bias) == len(findings):
            raise ValueError("vector scaling needs a scale and a bias for each finding")
        if not all(value > 0 for value in scale):
            raise ValueError("scales must be positive")
        bins = {name: _bins(steps, name) for name, steps in block(found.get("bins", {}), "bins").items()}
        if unknown := set(bins) - set(findings):
            raise ValueError(f"bins for {', '.join(sorted(unknown))}, not findings")
        shift = found.get("prior_shift")
        return cls(
            temperature=temperature,
            scale=scale,
            bias=bias,
            bins=bins,
            record=block(found.get("record", {}), "record of the calibration"),
            prior_shift=None if shift is None else PriorShift.read(shift, findings),
        )

    @property
    def method(self) -> str:
        """NONE: the logits as they are."""
        return VECTOR if self.scale else NONE if self.temperature == 1 else TEMPERATURE

    @property
    def at_films(self) -> "Calibration":
        """The same before the prior shift: for films mixed as those that it was fitted on."""
        return replace(self, prior_shift=None)

    @property
    def words(self) -> str:
        """For people: "temperature 1.015"."""
        if self.method == NONE:
            text = "logits as they are"
        else:
            text = f"temperature {self.temperature:g}" + (" and vector scaling" if self.scale else "")
        if self.prior_shift:
            shares = ", ".join(f"{name} {share:g}" for name, share in self.prior_shift.site.items())
            text += f", at prevalences {shares}"
        return text

    def as_dict(self) -> dict[str, Any]:
        plain: dict[str, Any] = {"method": self.method, "temperature": self.temperature}
        if self.scale:
            plain |= {"scale": list(self.scale), "bias": list(self.bias)}
        if self.bins:
            plain |= {"bins": {name: [asdict(own) for own in bins] for name, bins in self.bins.items()}}
        if self.prior_shift:
            plain |= {"prior_shift": asdict(self.prior_shift)}
        return plain | ({"record": self.record} if self.record else {})

    def probabilities(self, logits: Logits) -> Probabilities:
        """float [N, findings] -> float64 [N, findings], each row summing to 1."""
        left = logits.astype(np.float64) / self.temperature
        if self.scale:
            left = left * np.array(self.scale) + np.array(self.bias)
        return probabilities(left if self.prior_shift is None else left + self.prior_shift.logs, 1.0)

    def interval(self, finding: str, probability: float) -> tuple[float, float] | None:
        """The share of films with this probability that have the finding, with 95 % confidence for each probability.

        None where the bundle keeps no bins. It says how well the probability is known, not what else it could be for
        this film: (0.31, 0.76) beside 0.52 means that of films like it between 31 and 76 % have the finding. Neither
        end falls where the probability rises.
        """
        bins = self.bins.get(finding)
        if not bins:
            return None
        return next((own for own in bins if probability <= own.up_to), bins[-1]).interval95


def probabilities(logits: NDArray[np.floating[Any]], temperature: float) -> Probabilities:
    """float [N, findings] -> float64 [N, findings], each row summing to 1."""
    scaled = logits.astype(np.float64) / temperature
    exponent = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=1, keepdims=True))


def moved(bound: float, before: float, after: float) -> float:
    """A threshold or an end of an interval beside a probability that a prior shift moved: its odds move as those of the
    probability, so that it stays on its side."""
    if before == after or not 0 < before < 1 or not 0 < after < 1:
        return bound
    ratio = after / (1 - after) * (1 - before) / before
    found = bound * ratio / (bound * ratio + 1 - bound)
    return min(found, after) if bound <= before else max(found, after)  # whatever rounding did


def log_losses(chances: Probabilities, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Negative log likelihood of each film, nats, at most -log(1e-12); probabilities [N, findings]."""
    return np.asarray(-np.log(np.clip(chances[np.arange(len(labels)), labels], 1e-12, 1.0)))


def brier_scores(chances: Probabilities, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum over findings of squared errors, 0..2, of each film; probabilities [N, findings]."""
    truth = np.eye(chances.shape[1])[labels]
    return np.asarray(((chances - truth) ** 2).sum(axis=1))


def fit_temperature(logits: Logits, labels: NDArray[np.int64]) -> float:
    """The temperature in 0.05..20 with the least log loss, to three digits.

    The loss is convex in 1 / temperature, so halving finds its minimum on a grid of 600 in ten steps.
    """
    grid, values = np.geomspace(0.05, 20.0, 600), logits.astype(np.float64)
    below = values - values[np.arange(len(labels)), labels][:, None]  # of the true finding: its column is 0

    def loss(index: int) -> float:
        scaled = below / grid[index]
        highest = scaled.max(axis=1)
        return float((highest + np.log(np.exp(scaled - highest[:, None]).sum(axis=1))).mean())

    low, high = 0, len(grid) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if loss(middle) <= loss(middle + 1) else (middle + 1, high)
    return round(float(grid[low]), 3)


def _numbers(found: object, name: str) -> tuple[float, ...]:
    return tuple(number(value, name) for value in sequence(found, name))


def _bins(found: object, finding: str) -> tuple[Bin, ...]:
    bins = tuple(Bin.read(step, finding) for step in sequence(found, f"bins of {finding}"))
    ends = [own.up_to for own in bins]
    if not bins or ends != sorted(set(ends)) or ends[-1] != 1:
        raise ValueError(f"bins of {finding} must rise, and the last one end at 1")
    return bins


_BIN: dict[str, Rule] = {"up_to": share, "films": count, "positives": count, "interval95": interval}
